"""The program of a worker process: it reads items from its socket, calls the worker, and reports each end.

It counts no attempts and decides no retry: the parent does. Begin with ``worker_process``; ``loop_process`` takes over
for workers that are ``async def``.
"""
