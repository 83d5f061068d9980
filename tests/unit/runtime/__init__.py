"""Tests of ``runtime`` alone."""
