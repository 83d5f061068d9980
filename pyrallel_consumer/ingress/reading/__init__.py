"""The poll thread's own decisions: the present assignment, where to begin, what is read ahead. Pure.

Owned by the poll thread, which stamps epochs from ``assignments``. No I/O, clock, thread or logging. Begin with
``assignments``.
"""
