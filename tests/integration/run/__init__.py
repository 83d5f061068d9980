"""``pyrallel-consumer run`` as a process of its own."""
