"""The collector's threshold is raised while a consumer runs, never lowered, and restored unless others changed it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pyrallel_consumer.runtime.life.garbage_threshold import RaisedThreshold


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    usual = gc.get_threshold()
    gc.set_threshold(700, 11, 12)
    yield
    gc.set_threshold(*usual)


def test_it_is_raised_and_put_back_and_the_older_generations_stay() -> None:
    raised = RaisedThreshold(10_000)
    assert gc.get_threshold()[:2] == (10_000, 11)
    raised.release()
    raised.release()
    assert gc.get_threshold()[:2] == (700, 11)


def test_the_highest_of_several_holds_as_long_as_it_is_wanted() -> None:
    low, high = RaisedThreshold(5_000), RaisedThreshold(20_000)
    also_low = RaisedThreshold(5_000)
    assert gc.get_threshold()[0] == 20_000
    high.release()
    low.release()
    assert gc.get_threshold()[0] == 5_000
    also_low.release()
    assert gc.get_threshold()[0] == 700


@pytest.mark.parametrize("wanted", [0, 500, 700])
def test_it_is_never_lowered(wanted: int) -> None:
    raised = RaisedThreshold(wanted)
    assert gc.get_threshold()[0] == 700
    raised.release()
    assert gc.get_threshold()[0] == 700


def test_a_collector_that_is_off_stays_off() -> None:
    gc.set_threshold(0)
    raised = RaisedThreshold(10_000)
    assert gc.get_threshold()[0] == 0
    raised.release()
    assert gc.get_threshold()[0] == 0


def test_what_somebody_else_set_meanwhile_stays() -> None:
    raised = RaisedThreshold(10_000)
    gc.set_threshold(3_000)
    raised.release()
    assert gc.get_threshold()[0] == 3_000


def test_a_threshold_that_somebody_else_set_is_raised_for_the_next_one() -> None:
    first = RaisedThreshold(10_000)
    gc.set_threshold(3_000)
    second = RaisedThreshold(8_000)
    assert gc.get_threshold()[0] == 10_000
    first.release()
    assert gc.get_threshold()[0] == 8_000
    second.release()
    assert gc.get_threshold()[0] == 3_000
