"""Watches that warn: an offset that blocks the commit, a worker that blocks the loop."""
