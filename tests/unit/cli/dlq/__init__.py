"""Tests of ``cli.dlq`` alone."""
