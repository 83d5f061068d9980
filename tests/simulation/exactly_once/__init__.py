"""Exactly once, simulated: members of a group that write in transactions, a broker that carries them out, an oracle.

The parts that decide are the real ones: work manager, commit sequence, the outputs of the loop, dead letters.
"""
