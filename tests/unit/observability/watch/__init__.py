"""Tests of ``observability.watch`` alone."""
