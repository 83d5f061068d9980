"""Tests of ``execution_plane.processes.parent`` alone."""
