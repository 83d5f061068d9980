"""Tests of ``observability.status`` alone."""
