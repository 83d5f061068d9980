"""The pump between the threads, on the event loop: takes facts and completions, starts items, closes in order.

It acts on what the control plane decides, and decides nothing. Begin with ``control_loop``; ``wiring`` builds the
parts.
"""
