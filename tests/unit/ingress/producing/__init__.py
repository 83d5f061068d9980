"""Tests of ``ingress.producing`` alone."""
