"""Exactly once, measured on a real Kafka: ``python benchmarks/exactly_once/measure.py``. Begin with ``measure``."""
