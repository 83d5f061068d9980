"""A seeded simulator that drives the real control plane through faults."""
