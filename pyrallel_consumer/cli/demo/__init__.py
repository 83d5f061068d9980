"""``pyrallel-consumer demo``: flags in ``options``; orders, failures, the picture while it runs, the verdict."""
