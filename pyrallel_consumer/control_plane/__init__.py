"""Decides about order, offsets, flow and failures, and never acts. Pure, and owned by the event loop's thread.

No I/O, clock, thread, random or logging: callers pass the time in, so that the simulator can drive the real code. Every
fact goes through ``work_manager``, the only entry point. ``dispatch`` decides which message may start next.
``events`` are the facts and commands, ``policies`` the settings in frozen form. Begin with ``work_manager``.
"""
