"""``pyrallel-consumer dlq``: flags in ``options``; list, show and replay in ``run``; their parts beside it."""
