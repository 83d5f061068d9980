"""Failures are counted for the page, and the earlier listener still gets them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.execution_plane.attempt_log import AttemptLog
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.engine import Failed
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages
from pyrallel_consumer.runtime.outcomes.failure_watch import counted_failures
from tests.unit.control_plane.builders import TP, keyed, manager_of, run_of


def test_failed_attempts_and_given_up_messages_are_counted_and_others_still_hear_of_them() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [item] = manager.take(1)
    exhausted = ExhaustedMessages(manager, lambda _: None, lambda: 7.0, ErrorText())
    log = AttemptLog(ErrorText())
    heard: list[str] = []
    exhausted.heard = lambda _: heard.append("last")
    exhausted.given_up = lambda _: heard.append("given up")
    log.heard = lambda *_: heard.append("retry")
    engine: Any = SimpleNamespace(attempt_log=log)

    kinds = counted_failures(engine, exhausted, lambda: 7.0)
    log.failed(item, RetryAt(2.0, ValueError("first"), 1, is_charged=True), 1.0)
    log.failed(item, RetryAt(2.0, ValueError("free"), 1, is_charged=False), 1.0)
    exhausted.take(Failed(item, ValueError("last"), 2))

    assert kinds.most_frequent(9) == (("ValueError", 2, 1, 7.0, TP, 0),)
    assert heard == ["retry", "retry", "last", "given up"]


def test_an_engine_of_the_users_without_a_log_of_attempts_is_fine() -> None:
    exhausted = ExhaustedMessages(manager_of(), lambda _: None, lambda: 7.0, ErrorText())
    engine: Any = SimpleNamespace()

    assert counted_failures(engine, exhausted, lambda: 7.0).most_frequent(9) == ()
