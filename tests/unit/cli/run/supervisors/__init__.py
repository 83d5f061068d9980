"""Tests of ``cli.run.supervisors`` alone."""
