"""Tests of ``runtime.outcomes`` alone."""
