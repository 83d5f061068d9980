"""Tests of ``ingress.reading`` alone."""
