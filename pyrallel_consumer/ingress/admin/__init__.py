"""Looks at topics, groups and dead letters from outside, for commands, tests and benchmarks; joins no group.

All calls block, for a bounded time. Begin with ``group_reader``.
"""
