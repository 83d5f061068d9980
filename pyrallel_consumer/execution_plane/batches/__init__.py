"""Batches: how messages are put together for one call of the worker, and how each ends when that call ends."""
