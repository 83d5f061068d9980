"""The watchdog beside an event loop: what it says of one that stands still, is not run, or is gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from pyrallel_consumer.observability.loop_watchdog import LoopWatchdog

PATIENCE_SECONDS = 30.0


def until(holds: Callable[[], object]) -> None:
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.005)


def watchdog(
    loop: asyncio.AbstractEventLoop, last_sign_of_life: Callable[[], float], closed: threading.Event
) -> LoopWatchdog:
    return LoopWatchdog(
        loop,
        last_sign_of_life=last_sign_of_life,
        now=time.monotonic,
        warn_seconds=0.04,
        worker_name="send_order",
        on_loop_closed=closed.set,
    )


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

    async def stand_still_twice() -> None:
        watching.start()
        until(lambda: watching.blocked_count == 1)
        lives_at.append(time.monotonic() + 0.3)
        until(lambda: watching.blocked_count == 2)

    loop.run_until_complete(stand_still_twice())
    watching.stop()
    loop.close()

    assert caplog.text.count("probably by the worker send_order") == 2
    assert "until(lambda: watching.blocked_count == 1)" in caplog.text
    assert not closed.is_set()
