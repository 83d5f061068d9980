"""Exactly once, measured on a real Kafka: ``python benchmarks/transactions/measure.py``. Begin with ``measure``."""
