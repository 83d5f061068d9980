"""Batches: how messages are put together for one call of the worker, and what becomes of each when that call ends."""
