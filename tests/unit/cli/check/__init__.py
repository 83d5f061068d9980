"""Tests of ``cli.check`` alone."""
