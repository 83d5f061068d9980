"""Tests of ``control_plane.partitions`` alone."""
