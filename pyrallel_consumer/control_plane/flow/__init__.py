"""How much may be read: load against its limits, each partition's fair share, and why partitions pause.

Begin with ``backpressure``.
"""
