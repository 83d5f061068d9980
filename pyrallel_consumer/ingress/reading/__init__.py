"""What the poll thread decides by itself: what is assigned now, where to begin, what was read ahead. Pure.

Owned by the poll thread, which stamps epochs from ``assignments``. No I/O, clock, thread or logging. Begin with
``assignments``.
"""
