"""``pyrallel-consumer dlq``: flags in ``options``; list, show and replay in ``run``, the rest is what they need."""
