"""A queue of dead letters with what its tests do to it."""

from __future__ import annotations

from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm
from pyrallel_consumer.control_plane.failures.letter_queue import LetterPolicy, LetterQueue
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.testing import PlainMessage


class Epoch:
    epoch = 1
    is_ordered = False


DOWN = "_MSG_TIMED_OUT"
TOO_LARGE = "MSG_SIZE_TOO_LARGE"
POLICY = LetterPolicy(first_wait_seconds=1.0, longest_wait_seconds=4.0, most_under_way=3)


def letter(offset: int, topic: str = "orders", key: bytes | None = b"key") -> Letter:
    item = WorkItem(PlainMessage(topic, 0, offset, key, b"value"), offset, Epoch())
    return Letter(item, f"{topic}.dlq", "ValueError", 3, LetterForm.FULL)


class Desk:
    """A queue, and the set of partitions whose assignments have ended."""

    def __init__(self) -> None:
        self.queue = LetterQueue(POLICY)
        self.ended: set[WorkItem] = set()

    def next_at(self) -> float | None:
        return self.queue.next_at

    def is_failing(self) -> bool:
        return self.queue.is_failing

    def add(self, *letters: Letter) -> None:
        for each in letters:
            self.queue.add(each)

    def take(self, now: float = 0.0) -> list[Letter]:
        return self.queue.take(now, self.is_current)

    def fail(self, now: float, code: str, *letters: Letter) -> None:
        for each in letters:
            self.queue.failed(each, code, "no", now)

    def is_current(self, item: WorkItem) -> bool:
        return item not in self.ended
