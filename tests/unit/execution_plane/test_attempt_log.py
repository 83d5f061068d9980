"""The first failures of each kind of error are logged while attempts are left, and the others are counted."""

from __future__ import annotations

import pytest

from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import TaskTimeoutError
from pyrallel_consumer.execution_plane.attempt_log import FIRST_TOLD, INTERVAL_SECONDS, MOST_KINDS, AttemptLog
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.testing.messages import work_item


def fail(log: AttemptLog, error: BaseException, now: float, *, is_charged: bool = True) -> None:
    log.failed(work_item(topic="orders", offset=17), RetryAt(now + 1.5, error, 2, is_charged), now)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_first_failures_of_each_kind_are_told_at_warning(caplog: pytest.LogCaptureFixture) -> None:
    log = AttemptLog(ErrorText())
    for number in range(10):
        fail(log, ValueError(f"bad {number}"), 0.0)
    fail(log, TaskTimeoutError("it ran too long"), 0.0)

    assert len(caplog.records) == FIRST_TOLD + 1
    assert (
        messages(caplog)[0] == "attempt 2 of orders-0-17 failed with ValueError: bad 0; the next one follows in 1.5 s"
    )
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert caplog.records[0].__dict__["pyrallel_offset"] == 17


def test_after_the_interval_it_is_told_again_with_the_number_that_was_not(caplog: pytest.LogCaptureFixture) -> None:
    log = AttemptLog(ErrorText())
    for _ in range(10):
        fail(log, ValueError(), 0.0)
    fail(log, ValueError(), INTERVAL_SECONDS)

    assert messages(caplog)[-1].endswith(f"(and {10 - FIRST_TOLD} more like it since this was last told)")


def test_what_is_put_off_without_a_charge_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    fail(AttemptLog(ErrorText()), ValueError(), 0.0, is_charged=False)

    assert caplog.records == []


def test_kinds_that_never_end_are_not_all_remembered(caplog: pytest.LogCaptureFixture) -> None:
    log = AttemptLog(ErrorText())
    for number in range(MOST_KINDS + 1):
        fail(log, type(f"Error{number}", (Exception,), {})(), 0.0)

    assert len(caplog.records) == MOST_KINDS + 1
