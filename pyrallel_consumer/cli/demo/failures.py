"""Which of the demo's orders fail, and whether each ended as planned: processed, or in the dead-letter topic. Pure.

Of the share that fails, one half fails whenever it is tried (poison), the other only in its first attempt.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

_CRC_RANGE: Final = 2**32


class Fate(Enum):
    """How an order ends."""

    SUCCEEDS = "succeeds"
    FAILS_ONCE = "fails once"
    ALWAYS_FAILS = "always fails"


class OutOfStockError(Exception):
    """The order cannot be served, however often it is tried."""


class WarehouseBusyError(Exception):
    """Another attempt will do."""


def fate_of(number: int, seed: int, fail_rate: float) -> Fate:
    """The fate of the order of this number; the same for the same seed and rate."""
    chance = zlib.crc32(b"%d of %d" % (number, seed)) / _CRC_RANGE
    if chance >= fail_rate:
        return Fate.SUCCEEDS
    return Fate.ALWAYS_FAILS if chance < fail_rate / 2 else Fate.FAILS_ONCE


def fail(number: int, fate: Fate, attempt: int) -> None:
    """Raise the planned error of an attempt at an order with this fate, if there is one."""
    if fate is Fate.ALWAYS_FAILS:
        raise OutOfStockError(f"order {number}")
    if fate is Fate.FAILS_ONCE and attempt == 1:
        raise WarehouseBusyError(f"order {number}")


@dataclass(frozen=True, slots=True)
class Failures:
    """The planned failures, and the letters that an independent client found in the dead-letter topic.

    ``poisoned`` orders always fail, ``fickle`` ones once. ``retried`` were processed after they had failed.
    ``dead_lettered`` counts poisoned orders that have a letter. ``second_letters`` are further letters of these orders:
    if a letter is under way when its partition moves, the new owner sends it too. ``strange_letters`` are of other
    orders.
    """

    poisoned: int
    fickle: int
    retried: int
    dead_lettered: int
    second_letters: int
    strange_letters: int


def accounted(orders: int, seed: int, fail_rate: float, *, letters: Iterable[int], retried: int) -> Failures:
    """Compare the numbers of the orders with a letter with those that must have one."""
    fates = {number: fate_of(number, seed, fail_rate) for number in range(1, orders + 1)}
    found = Counter(letters)
    poisoned = {number for number, fate in fates.items() if fate is Fate.ALWAYS_FAILS}
    rightly = Counter({number: count for number, count in found.items() if number in poisoned})
    return Failures(
        poisoned=len(poisoned),
        fickle=sum(1 for fate in fates.values() if fate is Fate.FAILS_ONCE),
        retried=retried,
        dead_lettered=len(rightly),
        second_letters=rightly.total() - len(rightly),
        strange_letters=found.total() - rightly.total(),
    )
