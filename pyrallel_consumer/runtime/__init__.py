"""A running consumer on the event loop: the pump between the threads, outcomes of messages, its life, its wiring.

It carries out the decisions of the control plane, and decides nothing. Begin with ``pump/control_loop``; ``wiring``
builds the parts.
"""
