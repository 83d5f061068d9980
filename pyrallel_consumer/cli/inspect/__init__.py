"""``pyrallel-consumer inspect``: flags in ``options``; shows a group from outside, or a running consumer."""
