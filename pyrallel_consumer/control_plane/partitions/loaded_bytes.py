"""How many bytes unfinished messages count, and when it is worth counting them again. Pure.

Between two counts new messages are added, and done messages are not subtracted. A count is due when a part of the
messages is done, so the cost is a few counts per message, however many are unfinished. With more than
``EXACT_MESSAGES`` up to a third of the counted messages may be done already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.size_estimate import SizeEstimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrallel_consumer.dto import Message, WorkItem

MESSAGE_OVERHEAD_BYTES = 512
"""The cost of a message beside its key, value and headers: the client's object, the item, entries in our structures."""

EXACT_MESSAGES = 256
"""Up to this many messages are counted again whenever one is done."""
MEASURE_PART = 2
"""More messages are counted again when one in this many is done."""


class LoadedBytes:
    """``total`` is the load of one partition: right after a count, and not too low before the next one."""

    __slots__ = ("_counted_at", "_headers", "total")

    def __init__(self) -> None:
        self.total = 0
        self._counted_at = 0
        self._headers = SizeEstimate()

    def of_new(self, messages: Sequence[Message]) -> int:
        """The load of new messages without their keys, for the caller to add to ``total``."""
        return MESSAGE_OVERHEAD_BYTES * len(messages) + sum(map(len, messages)) + self._headers.of_new(messages)

    def is_counted(self, finished: int) -> bool:
        """Whether no message was finished since the last count; ``finished`` is the counter of them."""
        return self._counted_at == finished

    def count(self, unfinished: Mapping[int, WorkItem], finished: int) -> None:
        """Count the unfinished messages again, unless none was finished since the last time."""
        if self._counted_at != finished:
            self.count_again(unfinished, finished)

    def count_again(self, unfinished: Mapping[int, WorkItem], finished: int) -> None:
        """Count the unfinished messages again."""
        self._counted_at = finished
        messages = [item._message for item in unfinished.values()]
        keys = sum([len(key) for message in messages if (key := message.key()) is not None])
        self.total = (
            MESSAGE_OVERHEAD_BYTES * len(messages) + sum(map(len, messages)) + keys + self._headers.of(messages)
        )

    def measure(self, unfinished: Mapping[int, WorkItem], finished: int) -> None:
        """Count the unfinished messages again if that is worth the time."""
        done = finished - self._counted_at
        if done and (len(unfinished) <= EXACT_MESSAGES or done * MEASURE_PART >= len(unfinished)):
            self.count_again(unfinished, finished)
