"""Records that are not acknowledged yet, at least once: which are sent now, in which order, which are refused. Pure.

It is a ``LetterQueue`` with two differences. Records keep their order: a record that comes back is sorted in again
before any more records of its topic are sent. And a record that is refused alone is neither changed nor tried again: it
is returned as refused, and its message has failed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pyrallel_consumer.control_plane.failures.letter_queue import LETTERS_OWN, LetterPolicy, LetterQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.output.unwritten import Outgoing
    from pyrallel_consumer.dto import WorkItem

TOPICS_OWN: Final = frozenset(
    {
        "TOPIC_AUTHORIZATION_FAILED",
        "TOPIC_EXCEPTION",
        "UNKNOWN_TOPIC_OR_PART",
        "_UNKNOWN_PARTITION",
        "_UNKNOWN_TOPIC",
    }
)
"""Errors that speak of the topic or partition that a worker chose: no other record of the batch is to blame."""
RECORDS_OWN: Final = (
    LETTERS_OWN | TOPICS_OWN | {"INVALID_TIMESTAMP", "_INVALID_ARG", "_KEY_SERIALIZATION", "_VALUE_SERIALIZATION"}
)
"""Errors about the worker's record: they make its message fail."""
MOST_UNDER_WAY: Final = 10_000


class RecordQueue(LetterQueue):
    """``refused`` are records that will never arrive, with the error's name and text; the reader clears the list."""

    own_errors = RECORDS_OWN

    def __init__(self) -> None:
        super().__init__(LetterPolicy(most_under_way=MOST_UNDER_WAY))
        self.refused: list[tuple[Outgoing, str, str]] = []
        self._unsorted: set[str] = set()

    def take(self, now: float, is_current: Callable[[WorkItem], bool]) -> list[Any]:
        for topic in self._unsorted:
            queue = self._queues.get(topic)
            if queue is not None:
                queue.ready = deque(sorted(queue.ready, key=_sequence))
                queue.alone = deque(sorted(queue.alone, key=_sequence))
        self._unsorted.clear()
        return super().take(now, is_current)

    def failed(self, letter: Any, code: str, said: str, now: float, *, is_wanted: bool = True) -> None:
        self._unsorted.add(letter.topic)
        letter.is_alone = letter.is_alone or code in TOPICS_OWN
        super().failed(letter, code, said, now, is_wanted=is_wanted)

    def _rest(self, queue: Any, letter: Any, code: str, said: str, now: float) -> None:  # noqa: ARG002 -- as overridden
        self.refused.append((letter, code, said))


def _sequence(outgoing: Any) -> int:
    sequence: int = outgoing.sequence
    return sequence
