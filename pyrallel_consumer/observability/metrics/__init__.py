"""Prometheus: the figures of a picture (``figures``), their names (``families``), and the page (``metrics``).

A new metric stands in ``figures`` and ``families``.
"""
