"""The stacks of other threads, as they are shown with the interpreter's lock and without."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from traceback import FrameSummary

import pytest

from pyrallel_consumer.observability.watch.thread_stacks import thread_stacks

PATIENCE_SECONDS = 30.0


@pytest.fixture(params=[True, False], ids=["with the lock", "without"])
def _lock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way for builds without the lock works with the lock, too; the other way is not safe without it."""
    if not request.param:
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    elif not getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("this interpreter runs without its lock")


@pytest.fixture
def waiting() -> Iterator[threading.Thread]:
    let_go = threading.Event()

    def wait_in_here() -> None:
        let_go.wait(PATIENCE_SECONDS)  # here

    thread = threading.Thread(target=wait_in_here)
    thread.start()
    yield thread
    let_go.set()
    thread.join()


@pytest.mark.usefixtures("_lock")
def test_every_thread_has_its_stack_with_the_innermost_call_last(waiting: threading.Thread) -> None:
    assert waiting.ident is not None
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    theirs: dict[str, FrameSummary] = {}
    while "wait" not in theirs:
        assert time.monotonic() < deadline, f"waited in vain: {theirs}"
        pause.wait(0.005)
        theirs = {frame.name: frame for frame in thread_stacks()[waiting.ident]()}
    ours = [frame.name for frame in thread_stacks()[threading.get_ident()]()]

    assert [*theirs].index("run") < [*theirs].index("wait_in_here") < [*theirs].index("wait")
    assert theirs["wait_in_here"].filename == __file__
    assert theirs["wait_in_here"].line == "let_go.wait(PATIENCE_SECONDS)  # here"
    assert ours.index("test_every_thread_has_its_stack_with_the_innermost_call_last") < ours.index("thread_stacks")
