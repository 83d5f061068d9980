"""Workers on the actors of a Ray cluster.

``host`` is the program of an actor, ``sent`` the books of what one was sent, ``actors`` has them come and go,
``ray_engine`` deals out and charges. Only ``cluster`` imports Ray, and only when a consumer starts.
"""
