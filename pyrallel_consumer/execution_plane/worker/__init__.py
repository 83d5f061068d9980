"""The code around the user's worker, in the place where the worker runs: loop, thread, process or Ray actor.

It checks the worker, decodes its items, reads its return value, and holds its lifespan. It knows no engine, attempt or
offset. Begin with ``call``, the function that an engine runs instead of the worker.
"""
