"""Tests of ``execution_plane.processes.child`` alone."""
