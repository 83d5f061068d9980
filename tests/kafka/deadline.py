"""Waiting for a condition, with a deadline that names what did not come. The only place of these tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# A net for what never comes, no statement about speed: two busy cores take their time.
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.02


def wait_until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Returns when ``holds()``; fails with ``what`` when that never comes."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s this is not so: {what}"
        time.sleep(LOOK_SECONDS)


async def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """As ``wait_until``, for coroutines: the loop is served meanwhile."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s this is not so: {what}"
        await asyncio.sleep(LOOK_SECONDS)


async def until_asked(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Like ``until``, for a condition that blocks, such as a request to a broker: another thread evaluates it."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s this is not so: {what}"
        await asyncio.sleep(LOOK_SECONDS)
