"""``run --check``: checks worker, settings, broker, group and dead-letter topics, without joining the group.

Begin with ``check``; the findings are in ``table``.
"""
