"""Runs the user's worker: as tasks, in threads, in processes. Knows attempts and slots, and nothing about offsets.

``engine`` is the contract that every engine keeps, ``attempts`` the books that they share (pure), ``engine_choice`` the
only place that knows one mode from another: a new engine is chosen there. ``worker`` is the code around the worker.
Begin with ``engine``.
"""
