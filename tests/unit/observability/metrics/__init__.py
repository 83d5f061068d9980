"""Tests of ``observability.metrics`` alone."""
