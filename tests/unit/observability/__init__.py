"""Tests of ``observability`` alone."""
