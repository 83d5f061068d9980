"""Workers on the actors of a Ray cluster.

``host`` is the program of an actor, ``sent`` records the items sent to one actor, ``actors`` starts and ends them,
``ray_engine`` deals out items and counts attempts. Only ``cluster`` imports Ray, and only when a consumer starts.
"""
