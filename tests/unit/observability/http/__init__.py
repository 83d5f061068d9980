"""Tests of ``observability.http`` alone."""
