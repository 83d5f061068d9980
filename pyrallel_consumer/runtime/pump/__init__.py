"""The pump between the threads: takes facts and completions, starts items, sends commands. On the event loop.

``control_loop`` has the turns and ticks. ``facts`` says what follows from each fact, ``revocation`` how a partition is
handed over. The work manager decides all of it. Begin with ``control_loop``.
"""
