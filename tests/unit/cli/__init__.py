"""Tests of ``cli`` alone."""
