"""Tests of ``control_plane.flow`` alone."""
