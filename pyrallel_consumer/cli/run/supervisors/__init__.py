"""Keep runs alive in processes of their own: ``members`` for ``--consumers``, ``reload`` for ``--reload``.

They never import the worker: a run does. Begin with ``members``.
"""
