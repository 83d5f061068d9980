"""Tests of ``execution_plane.batches`` alone."""
