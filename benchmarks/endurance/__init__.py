"""What ``benchmarks/soak.py`` runs: tens of millions of messages through each engine, to see that nothing grows.

Begin with ``conductor.py``: it fills the topic, runs the measured ``member.py``, and has others join and leave.
"""
