"""The engine whose workers run in processes: both sides of the socket, and the memory that they share.

``process_engine`` deals out work on the loop; ``worker_process`` is the program of a child; ``frames`` are their
messages to each other. Pure: ``sent_items``, ``backlog``, ``key_order``. Begin with ``process_engine``.
"""
