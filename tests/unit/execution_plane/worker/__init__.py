"""Tests of ``execution_plane.worker`` alone."""
