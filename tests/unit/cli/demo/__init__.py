"""Tests of ``cli.demo`` alone."""
