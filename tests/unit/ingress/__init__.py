"""Tests of ``ingress`` alone."""
