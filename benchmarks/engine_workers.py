"""Workers that processes import: what a measured engine runs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any, Final

ROUNDS: Final = 500
ADDITIONS: Final = 3000


async def compute_and_wait(busy_seconds: float, wait_seconds: float, _: Any) -> None:
    """Computes, then waits, each unless it is 0."""
    if busy_seconds:
        end_at = time.perf_counter() + busy_seconds
        while time.perf_counter() < end_at:
            pass
    if wait_seconds:
        await asyncio.sleep(wait_seconds)


def do_nothing(_: Any) -> None:
    pass


def hash_often(item: Any) -> None:
    """Half a thousand rounds of sha256: tenths of a millisecond of a core."""
    hashed(item.payload or b"")


def hashed(value: bytes) -> bytes:
    for _ in range(ROUNDS):
        value = hashlib.sha256(value).digest()
    return value


def add_often(_: Any) -> None:
    """About as long in bytecode alone, which shares nothing between threads: sha256 shares OpenSSL's own objects."""
    total = 0
    for number in range(ADDITIONS):
        total = (total * 31 + number) & 0xFFFFFF
