"""Tests of Pyrallel Consumer."""
