"""``on_completion``: calls the user's function with one ``CompletionEvent`` for each message that ended, on the loop.

It is installed when the consumer is built, so a consumer without it pays nothing per message. A message has
ended when its offset is done, or when it failed its last attempt and its outcome is decided. A message whose assignment
has ended belongs to another owner, and gets no event. An exception of the function is noted, and ends nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from pyrallel_consumer.control_plane.events import TransactionAnswered
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import CompletionEvent, CompletionStatus, WorkItem
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.engine import ExecutionEngine, Failed
from pyrallel_consumer.execution_plane.worker.kind import is_async, name_of
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages


class Completions:
    """If ``tell`` raises, ``note_failure`` gets the action and the error."""

    def __init__(self, tell: Callable[[CompletionEvent], object]) -> None:
        self._tell = tell
        self.note_failure: Callable[[str, Exception], None] = _unheard
        self._attempts: WeakKeyDictionary[WorkItem, int] = WeakKeyDictionary()
        """The number of the attempt that follows, of messages that failed and are tried again."""

    def watch_manager(self, manager: WorkManager) -> None:
        """Hear of what succeeds. To be called before anybody else keeps these methods."""
        succeed, written, is_current = manager.succeed, manager.outbox.written, manager.is_current

        def succeed_and_tell(items: Sequence[WorkItem], now: float | None = None) -> None:
            ended = [item for item in items if is_current(item)]
            succeed(items, now)
            for item in ended:
                self._say(item, CompletionStatus.SUCCESS, None, self._attempts.pop(item, item.attempt))

        def write_and_tell(item: WorkItem) -> None:
            has_ended = is_current(item)
            written(item)
            if has_ended:
                self._say(item, CompletionStatus.SUCCESS, None, self._attempts.pop(item, item.attempt))

        manager.succeed = succeed_and_tell  # type: ignore[method-assign]  # of this manager alone
        manager.outbox.written = write_and_tell  # type: ignore[method-assign]  # as above

    def watch_pump(
        self, engine: ExecutionEngine, exhausted: ExhaustedMessages, note_failure: Callable[[str, Exception], None]
    ) -> None:
        """Hear of failed messages, and of failed attempts where the engine keeps a log of them."""
        exhausted.given_up = self._failed
        self.note_failure = note_failure
        log: Any = getattr(engine, "attempt_log", None)
        if log is None:
            return
        heard = log.heard

        def note(root: WorkItem, retry: RetryAt) -> None:
            self._attempts[root] = retry.attempt + retry.is_charged
            heard(root, retry)

        log.heard = note

    def watched_outcomes(self, take: Callable[[TransactionAnswered], None]) -> Callable[[TransactionAnswered], None]:
        """``take``, and also note the messages of committed transactions: under exactly once every offset is in one."""

        def take_and_tell(answered: TransactionAnswered) -> None:
            take(answered)
            committed = {tp for tp, error in answered.errors.items() if error is None}
            for snapshot in answered.snapshots:
                if snapshot.tp in committed:
                    for entry in snapshot.entries:
                        if entry.letter is None:
                            attempt = self._attempts.pop(entry.item, entry.attempt)
                            self._say(entry.item, CompletionStatus.SUCCESS, None, attempt)

        return take_and_tell

    def _failed(self, failed: Failed) -> None:
        self._attempts.pop(failed.item, None)
        self._say(failed.item, CompletionStatus.FAILURE, failed.error, failed.attempt)

    def _say(self, item: WorkItem, status: CompletionStatus, error: BaseException | None, attempt: int) -> None:
        event = CompletionEvent(item.topic, item.partition, item.offset, item.epoch, status, error, attempt)
        try:
            self._tell(event)
        except Exception as raised:  # noqa: BLE001 -- the user's function may raise anything
            self.note_failure("calling on_completion", raised)


def checked_completions(function: Any) -> Completions | None:
    """None if ``function`` is None. ConfigurationError if it cannot be called with one event."""
    if function is None:
        return None
    name = name_of(function)
    if not callable(function):
        raise ConfigurationError(f"on_completion {name} cannot be called: give a function of one CompletionEvent")
    if is_async(function):
        raise ConfigurationError(
            f"on_completion {name} is `async def`, and nobody awaits it: give a plain function, which may fill a queue"
        )
    try:
        inspect.signature(function).bind(None)
    except ValueError:
        pass  # Compiled functions may have no signature to look at.
    except TypeError as error:
        raise ConfigurationError(f"on_completion {name} cannot be called with one CompletionEvent ({error})") from None
    return Completions(function)


def _unheard(_: str, __: Exception) -> None:
    pass
