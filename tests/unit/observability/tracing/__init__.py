"""Tests of ``observability.tracing`` alone."""
