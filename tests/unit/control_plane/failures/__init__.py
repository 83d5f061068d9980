"""Tests of ``control_plane.failures`` alone."""
