"""Tests of ``control_plane.offsets`` alone."""
