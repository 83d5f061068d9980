"""The poll thread: every call on the consuming client is made here, its construction and close included.

The thread owns all objects of this package and shares only an inbox and a command queue. It checks topic,
partition and epoch before every commit, pause and resume. Begin with ``poll_thread``, then ``rebalance`` and
``commits``.
"""
