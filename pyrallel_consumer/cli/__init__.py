"""The command line, `pyrallel-consumer`."""
