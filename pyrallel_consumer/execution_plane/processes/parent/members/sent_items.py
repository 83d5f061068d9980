"""The items that were sent to one worker process and have not ended, in order, and how many more to send. Pure.

Numbers count up from 1 for the life of a process. A process is sent some milliseconds of work ahead, so that it never
waits for the engine. It is not sent more, so that few items wait behind an item that turns out slow.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.execution_plane.attempts import Attempt

AHEAD_SECONDS: Final = 0.016
FRAME_SECONDS: Final = 0.008
MAX_AHEAD: Final = 512
MAX_FRAME_BYTES: Final = 256 * 1024
MAX_AHEAD_BYTES: Final = 2 * MAX_FRAME_BYTES
FIRST_GUESS_SECONDS: Final = 0.002
_WEIGHT_OF_NEWS: Final = 0.3


class SentItems:
    """The items of one process. ``head_since`` is the earliest time at which the first of them may have begun."""

    def __init__(self) -> None:
        self.generation = 0
        self.head_since = 0.0
        self.seconds_each = FIRST_GUESS_SECONDS
        self.sent_total = 0
        self.is_held = False
        """Whether no more items are sent until its next item ends, because it was found slow."""
        self._is_recalled = False
        self._sent: deque[tuple[int, Attempt, int]] = deque()
        self._sent_bytes = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def head(self) -> tuple[int, Attempt] | None:
        """The lowest number that has not ended, and its attempt."""
        return self._sent[0][:2] if self._sent else None

    @property
    def room(self) -> int:
        """How many more items it should be sent now."""
        if self.is_held or self._is_recalled or self._sent_bytes >= MAX_AHEAD_BYTES:
            return 0
        return min(MAX_AHEAD, 1 + int(AHEAD_SECONDS / self.seconds_each)) - len(self._sent)

    @property
    def frame_items(self) -> int:
        """How many items go into one frame."""
        return min(MAX_AHEAD, max(1, int(FRAME_SECONDS / self.seconds_each)))

    @property
    def seconds_ahead(self) -> float:
        """An estimate of how much work it has, in seconds."""
        return len(self._sent) * self.seconds_each

    def add(self, attempts: Sequence[Attempt], sizes: Sequence[int], now: float) -> int:
        """Note the sent attempts and their sizes in bytes; returns the first one's number."""
        if not self._sent:
            self.head_since = now
        first = self.sent_total + 1
        self._sent.extend(zip(count(first), attempts, sizes))
        self.sent_total += len(attempts)
        self._sent_bytes += sum(sizes)
        return first

    def learn(self, seconds_each: float) -> None:
        """Note the recent duration of one item."""
        self.seconds_each += _WEIGHT_OF_NEWS * (max(seconds_each, 1e-6) - self.seconds_each)

    def end_to(self, number: int, now: float) -> list[Attempt]:
        """All up to ``number`` have ended."""
        ended: list[Attempt] = []
        sent, size_bytes = self._sent, 0
        while sent and sent[0][0] <= number:
            _, attempt, size = sent.popleft()
            size_bytes += size
            ended.append(attempt)
        self._sent_bytes -= size_bytes
        if ended:
            self.head_since = now
            self.is_held = False
        return ended

    def withdraw(self, which: Callable[[Attempt], bool], above: int) -> bool:
        """Mark the items of ``which`` with numbers above ``above``; returns whether any was not marked before."""
        news = False
        for number, attempt, _ in reversed(self._sent):
            if number <= above:
                break
            if not attempt.is_withdrawn and which(attempt):
                attempt.is_withdrawn = news = True
        return news

    def recall(self) -> int:
        """No item that was sent so far begins any more; returns the generation of the items to come.

        Until ``reclaim`` there is no room for new items, because ``reclaim`` could not tell them from recalled ones.
        """
        self.generation += 1
        self.is_held = self._is_recalled = True
        return self.generation

    def reclaim(self, above: int) -> list[Attempt]:
        """Take back all items with numbers above ``above``, in their order."""
        self._is_recalled = False
        back: list[Attempt] = []
        while self._sent and self._sent[-1][0] > above:
            _, attempt, size_bytes = self._sent.pop()
            self._sent_bytes -= size_bytes
            back.append(attempt)
        back.reverse()
        return back
