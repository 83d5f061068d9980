"""Workers on a Ray cluster of several nodes on this machine; in an environment of their own (`make test-ray`)."""
