"""Has failed attempts and given-up messages counted by the type of their error, for the status page.

It is installed only where the page is served, so a consumer without the page pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.engine import ExecutionEngine, Failed
from pyrallel_consumer.observability.status.failure_kinds import FailureKinds
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages


def counted_failures(engine: ExecutionEngine, exhausted: ExhaustedMessages, clock: Callable[[], float]) -> FailureKinds:
    """The counts from now on. An earlier listener still gets the failures. A user's engine may keep no attempt log."""
    kinds = FailureKinds()
    heard, given_up = exhausted.heard, exhausted.given_up

    def note_last(failed: Failed) -> None:
        kinds.note_attempt(failed.item, failed.error, clock())
        heard(failed)

    def note_given_up(failed: Failed) -> None:
        kinds.note_given_up(failed.item, failed.error, clock())
        given_up(failed)

    exhausted.heard, exhausted.given_up = note_last, note_given_up
    log: Any = getattr(engine, "attempt_log", None)
    if log is not None:
        heard_by_log = log.heard

        def note_attempt(root: WorkItem, retry: RetryAt) -> None:
            if retry.error is not None and retry.is_charged:
                kinds.note_attempt(root, retry.error, clock())
            heard_by_log(root, retry)

        log.heard = note_attempt
    return kinds
