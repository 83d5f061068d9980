"""Messages of the batch engine that wait for another attempt: alone, with others, or within a search. Pure.

A waiting group of messages occupies no slot. When its time has come it is *due*: it gets the next free slots, before
new work, one per message. Messages that are tried again never occupy more than three quarters of the slots, except for
a single group that is larger. So messages that always fail cannot stop the others from running.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.batches.search import Search


@dataclass(order=True, slots=True)
class Sleeper:
    """Messages that wait until ``due_at`` (seconds) to be tried together.

    ``search`` is the search whose remaining messages they are. ``may_join``: they may be collected with others.
    ``postponed`` is how often they were put off together.
    """

    due_at: float
    sequence: int
    roots: list[WorkItem] = field(compare=False)
    search: Search[WorkItem] | None = field(compare=False, default=None)
    may_join: bool = field(compare=False, default=False)
    postponed: int = field(compare=False, default=0)


class Sleepers:
    """All that wait. ``slots`` are counted in messages; ``awake`` are the roots that were woken and have not ended."""

    def __init__(self, slots: int) -> None:
        self.awake: set[WorkItem] = set()
        self._slots = slots
        self._retry_slots = slots - slots // 4
        self._waiting: list[Sleeper] = []
        self._due: deque[Sleeper] = deque()
        self._sequence = 0

    def __len__(self) -> int:
        """Messages that wait, due ones included."""
        return sum([len(sleeper.roots) for sleeper in self._waiting]) + self.due_count

    def __bool__(self) -> bool:
        return bool(self._waiting or self._due)

    @property
    def due_count(self) -> int:
        """Messages whose time has come."""
        return sum([len(sleeper.roots) for sleeper in self._due])

    def capacity(self, inside: int) -> int:
        """How many more messages may come if ``inside`` messages are here, waiting ones included."""
        asleep = len(self) - self.due_count if self else 0
        return max(0, self._slots - inside + asleep)

    def _free(self, inside: int) -> int:
        """Slots for due messages: the slots that no awake message occupies."""
        return self._slots - inside + len(self)

    def roots(self) -> list[WorkItem]:
        """All that wait; in no order."""
        return [root for sleeper in (*self._waiting, *self._due) for root in sleeper.roots]

    def add(
        self,
        roots: list[WorkItem],
        due_at: float,
        *,
        search: Search[WorkItem] | None = None,
        may_join: bool = False,
        postponed: int = 0,
    ) -> None:
        """These wait until ``due_at``."""
        self.awake.difference_update(roots)
        self._sequence += 1
        heapq.heappush(self._waiting, Sleeper(due_at, self._sequence, roots, search, may_join, postponed))

    def next_due_at(self, inside: int) -> float | None:
        """When the next ones may be woken; None if none waits, or if due ones wait for slots.

        ``inside`` is how many messages are here, waiting ones included.
        """
        free = self._free(inside)
        if self._due:
            return self._due[0].due_at if len(self._due[0].roots) <= free else None
        return self._waiting[0].due_at if self._waiting and self._may_be_due(self._waiting[0], free) else None

    def wake(self, now: float, inside: int) -> Sleeper | None:
        """The next ones whose time has come, if there are slots for them; they are awake from now on."""
        free = self._free(inside)
        while self._waiting and self._waiting[0].due_at <= now and self._may_be_due(self._waiting[0], free):
            self._due.append(heapq.heappop(self._waiting))
        if not self._due or len(self._due[0].roots) > free:
            return None
        sleeper = self._due.popleft()
        self.awake.update(sleeper.roots)
        return sleeper

    def _may_be_due(self, sleeper: Sleeper, free: int) -> bool:
        """Whether it may have slots: one group, however large, or several that fit beside the awake messages."""
        count, due = len(sleeper.roots), self.due_count
        if not due and not self.awake:
            return True
        return len(self.awake) + due + count <= self._retry_slots and (not due or due + count <= free)

    def all(self) -> list[Sleeper]:
        """All groups, in the order of their times."""
        return [*self._due, *sorted(self._waiting)]

    def drop_empty(self) -> None:
        """Forget empty groups."""
        self._due = deque(sleeper for sleeper in self._due if sleeper.roots)
        self._waiting = [sleeper for sleeper in self._waiting if sleeper.roots]
        heapq.heapify(self._waiting)
