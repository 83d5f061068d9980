"""Tests of ``config`` alone."""
