"""Tests of ``ingress.polling`` alone."""
