"""``pyrallel-consumer run``: flags in ``options``, then settings, one run, bursts, reloads."""
