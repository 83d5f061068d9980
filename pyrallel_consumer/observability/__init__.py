"""Everything for operators: snapshots, metrics, health, the status page, warnings, spans. Reads, and changes nothing.

An error here never ends delivery. Begin with ``snapshot``, the frozen picture that all other parts show.
"""
