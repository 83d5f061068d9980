"""The engines whose workers run in processes. Here: what both sides of a socket share.

``parent`` has the engines, on the event loop; ``child`` is the program of a process; neither imports the other.
``frames`` are their messages, ``progress_marker`` and ``slot_marker`` their common memory. Begin with
``parent/process_engine``.
"""
