"""Tests of ``ingress.client`` alone."""
