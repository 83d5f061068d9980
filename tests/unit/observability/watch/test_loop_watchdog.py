"""The watchdog of an event loop: its reports about a loop that stands still, does not run, or is gone."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import pytest

from pyrallel_consumer.observability.watch import loop_watchdog
from pyrallel_consumer.observability.watch.loop_watchdog import LOOKS_TOGETHER, MOST_OTHER_THREADS, LoopWatchdog

PATIENCE_SECONDS = 30.0


def until(holds: Callable[[], object]) -> None:
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.005)


def watchdog(
    loop: asyncio.AbstractEventLoop,
    last_sign_of_life: Callable[[], float],
    closed: threading.Event,
    warn_seconds: float = 0.04,
    note_failure: Callable[[str, Exception], None] = lambda *_: None,
) -> LoopWatchdog:
    return LoopWatchdog(
        loop,
        last_sign_of_life=last_sign_of_life,
        now=time.monotonic,
        warn_seconds=warn_seconds,
        worker_name="send_order",
        on_loop_closed=closed.set,
        note_failure=note_failure,
    )


def test_a_watchdog_whose_looks_fail_goes_on_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise KeyError("a bug in what is looked at")

    loop, closed, made_at = asyncio.new_event_loop(), threading.Event(), time.monotonic()
    failed: list[str] = []
    watching = watchdog(loop, lambda: made_at, closed, note_failure=lambda name, _: failed.append(name))

    monkeypatch.setattr(loop, "is_running", refuse)
    watching.start()
    until(lambda: watching.blocked_count == 1 and failed)
    monkeypatch.undo()
    loop.close()

    assert closed.wait(PATIENCE_SECONDS)
    assert set(failed) == {"the watchdog"}


def test_a_loop_that_nobody_runs_is_said_to_be_that_and_its_end_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    loop, closed, made_at = asyncio.new_event_loop(), threading.Event(), time.monotonic()
    watching = watchdog(loop, lambda: made_at, closed)

    watching.start()
    until(lambda: watching.blocked_count == 1)
    loop.close()

    assert closed.wait(PATIENCE_SECONDS)
    assert "the event loop has not run" in caplog.text
    assert "send_order" not in caplog.text


def test_each_time_that_the_loop_stands_still_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    loop, closed = asyncio.new_event_loop(), threading.Event()
    lives_at = [time.monotonic()]
    watching = watchdog(loop, lambda: lives_at[-1], closed)

    caplog.set_level(logging.INFO)

    async def stand_still_twice() -> None:
        watching.start()
        until(lambda: watching.blocked_count == 1)
        lives_at.append(time.monotonic() + 0.3)
        until(lambda: watching.blocked_count == 2)

    loop.run_until_complete(stand_still_twice())
    watching.stop()
    loop.close()

    assert caplog.text.count("probably by the worker send_order") == 2
    assert caplog.text.count("the event loop turns again") == 1
    assert "until(lambda: watching.blocked_count == 1)" in caplog.text
    assert not closed.is_set()


def test_a_loop_that_is_late_again_and_again_is_told_once_until_it_is_well(caplog: pytest.LogCaptureFixture) -> None:
    loop, closed = asyncio.new_event_loop(), threading.Event()
    ages = [1.0]
    looks = [0]

    def last_sign_of_life() -> float:
        looks[0] += 1
        return time.monotonic() - ages[-1]

    watching = watchdog(loop, last_sign_of_life, closed, warn_seconds=2.0)

    def further_looks(age: float) -> None:
        ages.append(age)
        seen = looks[0]
        until(lambda: looks[0] > seen + LOOKS_TOGETHER)

    async def be_late_then_well_then_late() -> None:
        further_looks(1.0)
        further_looks(1.0)
        further_looks(0.0)
        further_looks(1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_watchdog, "LONGEST_LOOK_SECONDS", 0.01)
        watching.start()
        loop.run_until_complete(be_late_then_well_then_late())
    watching.stop()
    loop.close()

    assert caplog.text.count("the event loop is late more often than not") == 2
    assert "probably by the worker send_order" in caplog.text
    assert watching.blocked_count == 0


def test_what_other_threads_do_meanwhile_is_told_too_within_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    loop, closed, made_at, let_go = asyncio.new_event_loop(), threading.Event(), time.monotonic(), threading.Event()
    watching = watchdog(loop, lambda: made_at, closed)
    others = [
        threading.Thread(target=let_go.wait, args=(PATIENCE_SECONDS,), name=f"pool-{number}")
        for number in range(2 * MOST_OTHER_THREADS)
    ]
    for other in others:
        other.start()

    async def stand_still() -> None:
        watching.start()
        until(lambda: watching.blocked_count == 1)

    loop.run_until_complete(stand_still())
    watching.stop()
    loop.close()
    let_go.set()
    for other in others:
        other.join()

    assert "Thread pool-0, most recent call last:" in caplog.text
    assert caplog.text.count("most recent call last:") == MOST_OTHER_THREADS
    assert "More threads are left out." in caplog.text
    assert "in _watch\n" not in caplog.text  # its own stack is no news
