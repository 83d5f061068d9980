"""Tests of ``runtime.pump`` alone."""
