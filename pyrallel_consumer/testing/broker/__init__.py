"""A broker without Docker: librdkafka's mock cluster in a process of its own, with faults to inject.

Begin with ``embedded_broker``.
"""
