"""Tests of ``cli.run`` alone."""
