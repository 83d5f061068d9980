"""Failed attempts by the type of their error, for the status page.

The loop notes failures, and any thread may read ``most_frequent``. Only the path of a failure costs anything. It keeps
the names of error types and the places of messages, and no text of an error.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pyrallel_consumer.dto import TopicPartition, WorkItem
from pyrallel_consumer.foreign_errors import type_name

MOST_KINDS: Final = 100
"""How many types are told apart; all others count as ``OTHERS``."""
OTHERS: Final = "other types"


class FailureKind(NamedTuple):
    """One type of error: failed attempts, and messages that were given up. ``tp``, ``offset``, ``at``: the latest."""

    name: str
    attempts: int
    given_up: int
    at: float
    tp: TopicPartition
    offset: int


class FailureKinds:
    """Counts since the consumer started."""

    def __init__(self) -> None:
        self._kinds: dict[str, FailureKind] = {}

    def note_attempt(self, item: WorkItem, error: BaseException, at: float) -> None:
        """An attempt of ``item`` failed."""
        self._note(item, error, at, attempts=1, given_up=0)

    def note_given_up(self, item: WorkItem, error: BaseException, at: float) -> None:
        """``item`` is not tried again. Its last attempt, if there was one, is noted separately."""
        self._note(item, error, at, attempts=0, given_up=1)

    def most_frequent(self, most: int) -> tuple[FailureKind, ...]:
        """The ``most`` types with the most failed attempts, the most frequent first."""
        kinds = sorted(self._kinds.values(), key=lambda kind: (-kind.attempts, -kind.given_up, kind.name))
        return tuple(kinds[:most])

    def _note(self, item: WorkItem, error: BaseException, at: float, *, attempts: int, given_up: int) -> None:
        kinds, name = self._kinds, type_name(error)
        if name not in kinds and len(kinds) >= MOST_KINDS:
            name = OTHERS
        before = kinds.get(name)
        if before is not None:
            attempts, given_up = before.attempts + attempts, before.given_up + given_up
        kind = FailureKind(name, attempts, given_up, at, item.tp, item.offset)
        if before is None:
            self._kinds = {**kinds, name: kind}  # Another thread may be reading the old one.
        else:
            kinds[name] = kind
