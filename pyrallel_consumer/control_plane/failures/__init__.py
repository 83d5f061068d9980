"""Messages that fail: the circuits for outages and for keys, dead letters and their queue.

Begin with ``letter_queue``; a letter itself is ``letter``.
"""
