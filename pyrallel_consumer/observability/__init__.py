"""What operators look at: pictures, metrics, health, the status page, warnings, spans. Reads, and changes nothing.

Anything here may fail without ending delivery. Begin with ``snapshot``, the frozen picture that all others show.
"""
