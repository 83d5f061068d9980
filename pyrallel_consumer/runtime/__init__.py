"""The pump between the threads, on the event loop: takes facts and completions, starts items, closes in order.

It carries out the decisions of the control plane, and decides nothing. Begin with ``control_loop``; ``wiring`` builds
the parts.
"""
