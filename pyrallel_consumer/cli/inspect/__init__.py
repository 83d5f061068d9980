"""``pyrallel-consumer inspect``: flags in ``options``; a group looked at from outside, or a running consumer."""
