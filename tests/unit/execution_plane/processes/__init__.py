"""Tests of ``execution_plane.processes`` alone."""
