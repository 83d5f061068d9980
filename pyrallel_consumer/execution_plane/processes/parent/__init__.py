"""The engine's side of worker processes, on the event loop: deals out items, counts attempts, replaces processes.

Pure: ``backlog``, ``key_order``, ``suspects``, and what ``members`` records of sent items. Begin with
``process_engine``, or with ``async_process_engine`` for workers that are ``async def``.
"""
