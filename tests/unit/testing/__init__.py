"""Tests of ``testing`` alone."""
