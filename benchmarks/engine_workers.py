"""Workers that processes import: what a measured engine runs."""

from __future__ import annotations

import hashlib
from typing import Any, Final

ROUNDS: Final = 500


def do_nothing(_: Any) -> None:
    pass


def hash_often(item: Any) -> None:
    """Half a thousand rounds of sha256: tenths of a millisecond of a core."""
    hashed(item.payload or b"")


def hashed(value: bytes) -> bytes:
    for _ in range(ROUNDS):
        value = hashlib.sha256(value).digest()
    return value
