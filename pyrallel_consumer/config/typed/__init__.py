"""The settings as type checkers see them. Tests compare these files with the fields; nothing here decides a value.

A new field stands in ``arguments`` (what a constructor takes) and in ``attributes`` (what an object has).
"""
