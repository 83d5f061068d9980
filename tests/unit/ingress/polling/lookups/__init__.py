"""Tests of ``ingress.polling.lookups`` alone."""
