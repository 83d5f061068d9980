"""The control plane by its public behaviour: examples to read, and Hypothesis against naive models."""
