"""The demo's ledger finds every broken promise, and none if all were kept."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from pyrallel_consumer.cli.demo.ledger import Ledger

FIRST, SECOND = "first", "second"
ANN, BEN = "customer-ann", "customer-ben"


def new_ledger(expected: int = 10) -> Ledger:
    """A ledger whose clock ticks one second with each look at it."""
    return Ledger(expected, itertools.count().__next__)


def run(ledger: Ledger, customer: str, *nths: int, consumer: str = FIRST) -> None:
    for nth in nths:
        with ledger.run(consumer, customer, nth):
            pass


def test_orders_one_after_the_other_break_no_promise() -> None:
    ledger = new_ledger(expected=5)
    run(ledger, ANN, 1, 2, 3)
    run(ledger, BEN, 1, 2)

    assert (ledger.processed, ledger.order_violations, ledger.duplicates) == (5, 0, 0)
    assert ledger.is_complete


def test_orders_of_different_customers_may_overlap_and_end_in_any_order() -> None:
    ledger = new_ledger(expected=2)
    ledger.started(ANN, 1)
    ledger.started(BEN, 1)
    assert ledger.running == 2
    ledger.succeeded(FIRST, BEN, 1)
    assert not ledger.is_complete
    ledger.succeeded(FIRST, ANN, 1)

    assert (ledger.order_violations, ledger.running, ledger.most_running) == (0, 0, 2)
    assert ledger.is_complete


def test_a_start_before_the_earlier_order_has_ended_is_out_of_order() -> None:
    ledger = new_ledger()
    ledger.started(ANN, 1)
    ledger.started(ANN, 2)

    assert ledger.order_violations == 1


def test_an_overlap_across_two_consumers_is_out_of_order() -> None:
    ledger = new_ledger()
    with ledger.run(FIRST, ANN, 1), ledger.run(SECOND, ANN, 2):
        pass

    assert ledger.order_violations == 1


def test_an_order_that_was_left_out_makes_the_next_one_out_of_order() -> None:
    ledger = new_ledger()
    run(ledger, ANN, 1, 3)

    assert ledger.order_violations == 1


def test_an_order_that_starts_after_a_later_one_is_out_of_order_too() -> None:
    ledger = new_ledger()
    run(ledger, ANN, 2, 1)

    assert ledger.order_violations == 2
    assert ledger.processed == 2


def test_an_order_that_runs_again_after_it_was_done_is_counted_as_run_twice() -> None:
    ledger = new_ledger(expected=3)
    run(ledger, ANN, 1, 2, 3)
    run(ledger, ANN, 2, 3, consumer=SECOND)

    assert (ledger.duplicates, ledger.processed, ledger.runs) == (2, 3, 5)
    assert ledger.order_violations == 0


def test_an_order_that_runs_twice_at_the_same_time_breaks_both_promises_and_is_processed_once() -> None:
    ledger = new_ledger()
    with ledger.run(FIRST, ANN, 1), ledger.run(SECOND, ANN, 1):
        pass

    assert (ledger.duplicates, ledger.order_violations, ledger.processed) == (1, 1, 1)


def test_a_cancelled_run_has_no_result_and_the_next_run_of_it_is_its_second() -> None:
    ledger = new_ledger(expected=1)
    with pytest.raises(asyncio.CancelledError), ledger.run(FIRST, ANN, 1):
        raise asyncio.CancelledError
    assert (ledger.processed, ledger.failed, ledger.is_complete) == (0, 0, False)

    run(ledger, ANN, 1, consumer=SECOND)

    assert (ledger.processed, ledger.duplicates, ledger.order_violations) == (1, 1, 0)


def test_going_on_after_a_cancelled_run_without_running_it_again_is_out_of_order() -> None:
    ledger = new_ledger()
    with pytest.raises(asyncio.CancelledError), ledger.run(FIRST, ANN, 1):
        raise asyncio.CancelledError
    run(ledger, ANN, 2)

    assert ledger.order_violations == 1


def test_a_failed_order_that_succeeds_when_tried_again_is_no_duplicate() -> None:
    ledger = new_ledger(expected=2)
    with pytest.raises(ValueError, match="no stock"), ledger.run(FIRST, ANN, 1):
        raise ValueError("no stock")
    assert ledger.failed == 1
    run(ledger, ANN, 1, 2)

    assert (ledger.failed, ledger.processed, ledger.duplicates, ledger.order_violations) == (0, 2, 0, 0)
    assert (ledger.retried, ledger.ended) == (1, 2)
    assert ledger.is_complete


def test_an_order_that_failed_for_good_lets_the_next_one_start_and_the_run_be_complete() -> None:
    ledger = new_ledger(expected=2)
    with pytest.raises(ValueError, match="no stock"), ledger.run(FIRST, ANN, 1):
        raise ValueError("no stock")
    run(ledger, ANN, 2)

    assert (ledger.failed, ledger.processed, ledger.order_violations) == (1, 1, 0)
    assert ledger.is_complete


def test_a_failed_order_that_is_tried_again_after_a_later_one_is_out_of_order() -> None:
    ledger = new_ledger()
    with pytest.raises(ValueError, match="no stock"), ledger.run(FIRST, ANN, 1):
        raise ValueError("no stock")
    run(ledger, ANN, 2, 1)

    assert ledger.order_violations == 1


def test_who_processed_how_many_is_counted_by_consumer() -> None:
    ledger = new_ledger()
    run(ledger, ANN, 1, 2)
    run(ledger, BEN, 1, consumer=SECOND)

    assert ledger.processed_by == {FIRST: 2, SECOND: 1}


def test_the_time_runs_from_the_first_start_to_the_latest_end() -> None:
    ledger = new_ledger()
    assert ledger.seconds == 0.0
    run(ledger, ANN, 1, 2)

    assert ledger.seconds == 2
