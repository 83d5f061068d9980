"""The memory of message parts that are costly to measure: from a sample while it is small, else exact.

Reading a message's headers makes Python objects, and costs more than all other steps of the message. So only a few
messages are measured; after one with large headers, all are. Small headers are counted roughly, large ones exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.message import header_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.dto import Message

SAMPLE_EVERY = 31
"""Odd, so that a regular pattern in the messages does not always meet the same place."""
LARGE_BYTES = 1024
"""If a message of the sample has more, all messages are measured."""
ASKED_AFTER_LARGE = 10_000
"""How many messages are measured one by one after the last large one."""


class SizeEstimate:
    """The sum of ``measure`` over messages."""

    __slots__ = ("_each", "_measure", "_next", "_to_ask")

    def __init__(self, measure: Callable[[Message], int] = header_bytes) -> None:
        self._measure = measure
        self._each = 0.0
        self._next = 0
        self._to_ask = 0

    def of_new(self, messages: Sequence[Message]) -> int:
        """The sum over messages that no worker has seen yet, at least one. ``of`` uses the learned sizes."""
        count = len(messages)
        if self._to_ask <= 0:
            sample = messages[self._next :: SAMPLE_EVERY]
            self._next += len(sample) * SAMPLE_EVERY - count
            if not sample:
                return int(self._each * count)
            sizes = list(map(self._measure, sample))
            if max(sizes) <= LARGE_BYTES:
                mean = sum(sizes) / len(sizes)
                self._each = max(mean, self._each + (mean - self._each) / 16)
                return int(self._each * count)
        sizes = list(map(self._measure, messages))
        self._to_ask = ASKED_AFTER_LARGE if max(sizes) > LARGE_BYTES else self._to_ask - count
        self._each = sum(sizes) / count
        return sum(sizes)

    def of(self, messages: Sequence[Message]) -> int:
        """The sum over messages that ``of_new`` has seen. It reads no headers: a worker may be reading them."""
        return sum(map(self._measure, messages)) if self._to_ask > 0 else int(self._each * len(messages))


def beside_value(message: Message) -> int:
    """Bytes of key and headers."""
    return len(message.key() or b"") + header_bytes(message)
