"""A running consumer on the event loop: the pump between the threads, outcomes of messages, its life, its wiring.

It carries out the decisions of the control plane, and decides nothing. A revoked partition is drained and handed over
by ``pump/revocation``. Begin with ``pump/control_loop``; ``wiring``
builds the parts.
"""
