"""The circuit per key: after several failed messages of a key in a row, its next messages are not tried.

It counts permanently failed messages by partition and key. A key that reaches the limit is *poisoned* for a cooldown.
After the cooldown the key is tried again: one more failure poisons it again, a success clears it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyrallel_consumer.dto import TopicPartition, WorkItem

MOST_KEYS: Final = 10_000
"""How many keys are remembered; beyond that, the key with the oldest last failure is forgotten."""


@dataclass(frozen=True, slots=True)
class PoisonPolicy:
    """``failures`` messages in a row poison a key for ``cooldown_seconds``."""

    failures: int
    cooldown_seconds: float = 60.0


class PoisonKeys:
    """Keys with failures since their last success; none without a policy. Messages without a key are never counted."""

    def __init__(self, policy: PoisonPolicy | None) -> None:
        self._policy = policy
        self._failures: OrderedDict[tuple[TopicPartition, bytes], int] = OrderedDict()
        self._until: dict[tuple[TopicPartition, bytes], float] = {}
        self._now = 0.0

    def __bool__(self) -> bool:
        """Whether any key has failures. If not, callers can skip all other calls."""
        return bool(self._failures)

    @property
    def poisoned(self) -> int:
        """Keys whose messages are not tried now."""
        return sum(1 for until in self._until.values() if until > self._now)

    def observe(self, now: float) -> None:
        """The time is ``now``."""
        self._now = now

    def is_poisoned(self, item: WorkItem) -> bool:
        """Whether ``item`` must not be tried now."""
        key = item.key
        return key is not None and self._until.get((item.tp, key), 0.0) > self._now

    def failed(self, item: WorkItem) -> None:
        """A message failed its last attempt."""
        key = item.key
        if key is None or self._policy is None:
            return
        place = item.tp, key
        count = self._failures[place] = self._failures.get(place, 0) + 1
        self._failures.move_to_end(place)
        if count >= self._policy.failures:
            self._until[place] = self._now + self._policy.cooldown_seconds
        if len(self._failures) > MOST_KEYS:
            forgotten, _ = self._failures.popitem(last=False)
            self._until.pop(forgotten, None)

    def succeeded(self, item: WorkItem) -> None:
        """A message is processed: its key has no failures in a row any more."""
        key = item.key
        if key is not None and self._failures.pop((item.tp, key), None) is not None:
            self._until.pop((item.tp, key), None)

    def forget(self, tp: TopicPartition) -> None:
        """The partition is no longer assigned."""
        for place in [place for place in self._failures if place[0] == tp]:
            del self._failures[place]
            self._until.pop(place, None)
