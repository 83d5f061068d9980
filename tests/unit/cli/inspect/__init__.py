"""Tests of ``cli.inspect`` alone."""
