"""Writes dead letters, on a thread of its own; an offset completes only on the broker's acknowledgement.

Begin with ``dead_letter``.
"""
