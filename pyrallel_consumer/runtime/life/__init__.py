"""A consumer from its start to its end: opening, signals, the steps of a stop, what was cut off.

Every wait here has its bound. Begin with ``consumer_life``, then ``closing``.
"""
