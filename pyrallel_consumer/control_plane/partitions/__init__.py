"""One assigned partition: its unfinished messages, a queue for each key, ready messages, and those sent ahead.

Owned by ``work_manager``. Begin with ``partition_work``; ``run_work`` is its form for engines that keep order
themselves.
"""
