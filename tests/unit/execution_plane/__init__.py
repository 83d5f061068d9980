"""Tests of ``execution_plane`` alone."""
