"""What follows when a message's work has ended: its completion, its records, its dead letter. On the event loop.

``completions`` gives each ended item to the control plane. ``record_output`` sends records at least once and
``transaction_output`` exactly once. ``exhausted`` treats messages after their last failure. Begin with ``completions``.
"""
