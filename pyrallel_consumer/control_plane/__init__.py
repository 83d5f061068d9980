"""Decides, and never acts: order, offsets, flow, failures. Pure, and owned by the event loop's thread.

No I/O, clock, thread, random or logging: time is passed in, so that the simulator drives the real thing. Every fact
goes through ``work_manager``, the one way in: it decides what may start next, and what a revoke leaves. ``events`` are
the facts and commands, ``policies`` the settings in frozen form. Begin with ``work_manager``.
"""
