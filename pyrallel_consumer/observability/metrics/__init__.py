"""Prometheus: the figures of a picture (``figures``), their names (``families``), and the page (``metrics``)."""
