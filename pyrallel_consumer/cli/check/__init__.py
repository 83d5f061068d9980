"""``run --check``: looks at worker, settings, broker, group and dead-letter topics, and joins nothing.

Begin with ``check``; the findings are in ``table``.
"""
