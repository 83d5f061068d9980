"""Tests of ``runtime.life`` alone."""
