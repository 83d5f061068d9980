"""What the workers of a soak do with a message: its number decides whether it is slow, or fails once or always.

Slow messages make gaps: those behind them finish first. New keys keep coming, beside a few hot ones.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from produce import NUMBER_DIGITS

from pyrallel_consumer import WorkItem

SLOW_EACH: Final = 200
SLOW_SECONDS: Final = 0.02
FAILS_ONCE_EACH: Final = 500
FAILS_FOR_GOOD_EACH: Final = 20_000
HOT_KEYS: Final = 16
HOT_EACH: Final = 10
MESSAGES_PER_KEY: Final = 4


def key_of(number: int) -> int:
    """Each tenth message has a hot key, the others keys of four messages each, all of them near one another."""
    lap, place = divmod(number, HOT_EACH)
    return lap % HOT_KEYS if place == 0 else HOT_KEYS + lap // MESSAGES_PER_KEY * HOT_EACH + place


async def in_a_task(item: WorkItem) -> None:
    """For tasks, also in processes."""
    number = _checked(item)
    if number % SLOW_EACH == 0:
        await asyncio.sleep(SLOW_SECONDS)


def in_a_call(item: WorkItem) -> None:
    """For threads, and processes that call functions."""
    number = _checked(item)
    if number % SLOW_EACH == 0:
        time.sleep(SLOW_SECONDS)


def _checked(item: WorkItem) -> int:
    number = int((item.payload or b"0")[:NUMBER_DIGITS])
    if number % FAILS_FOR_GOOD_EACH == 1 or (number % FAILS_ONCE_EACH == 7 and item.attempt == 1):
        raise ValueError(f"message {number} fails")
    return number
