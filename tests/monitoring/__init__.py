"""The monitoring stack, proven without containers: its configuration under a real Prometheus."""
