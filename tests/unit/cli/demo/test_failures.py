"""Which orders of the demo fail, and that any fault in their letters is noticed."""

from __future__ import annotations

from collections import Counter

import pytest

from pyrallel_consumer.cli.demo.failures import (
    Failures,
    Fate,
    OutOfStockError,
    WarehouseBusyError,
    accounted,
    fail,
    fate_of,
)

ORDERS = 10_000
POISONED = [number for number in range(1, 101) if fate_of(number, 1, 0.2) is Fate.ALWAYS_FAILS]


def found(letters: list[int]) -> Failures:
    return accounted(100, 1, 0.2, letters=letters, retried=0)


def test_the_rate_is_the_share_that_fails_and_half_of_it_fails_always() -> None:
    fates = Counter(fate_of(number, 1, 0.2) for number in range(ORDERS))

    assert fates[Fate.FAILS_ONCE] == pytest.approx(1000, abs=150)
    assert fates[Fate.ALWAYS_FAILS] == pytest.approx(1000, abs=150)


def test_without_a_rate_no_order_fails_and_another_seed_fails_others() -> None:
    assert {fate_of(number, 1, 0.0) for number in range(ORDERS)} == {Fate.SUCCEEDS}
    assert [fate_of(number, 1, 0.2) for number in range(100)] != [fate_of(number, 2, 0.2) for number in range(100)]


def test_an_order_fails_as_its_fate_says() -> None:
    with pytest.raises(OutOfStockError, match="order 7"):
        fail(7, Fate.ALWAYS_FAILS, attempt=3)
    with pytest.raises(WarehouseBusyError, match="order 7"):
        fail(7, Fate.FAILS_ONCE, attempt=1)
    fail(7, Fate.FAILS_ONCE, attempt=2)
    fail(7, Fate.SUCCEEDS, attempt=1)


def test_every_letter_is_matched_with_the_order_that_has_to_have_one() -> None:
    count = len(POISONED)

    assert (found(POISONED).dead_lettered, found(POISONED).strange_letters, found(POISONED).poisoned) == (
        count,
        0,
        count,
    )
    assert found(POISONED[1:]).dead_lettered == count - 1
    assert (found([*POISONED, POISONED[0]]).dead_lettered, found([*POISONED, POISONED[0]]).second_letters) == (count, 1)
    good = next(number for number in range(1, 101) if number not in POISONED)
    assert found([*POISONED, good, 0]).strange_letters == 2
