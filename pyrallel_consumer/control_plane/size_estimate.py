"""How much memory parts of messages take that are costly to ask for: by a sample while it is little, else exactly.

Asking the client for a message's headers makes Python objects, and costs more than all other steps of the message. So
a few messages are asked; after one with large headers, all are. Small headers are counted about right, large ones
exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.message import header_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.dto import Message

SAMPLE_EVERY = 31
"""Odd, so that messages of runs of one length are not asked at the same places only."""
LARGE_BYTES = 1024
"""A message of the sample with more has all messages asked."""
ASKED_AFTER_LARGE = 10_000
"""So many messages are asked one by one after the last large one."""


class SizeEstimate:
    """The sum of ``measure`` over messages."""

    __slots__ = ("_each", "_measure", "_next", "_to_ask")

    def __init__(self, measure: Callable[[Message], int] = header_bytes) -> None:
        self._measure = measure
        self._each = 0.0
        self._next = 0
        self._to_ask = 0

    def of_new(self, messages: Sequence[Message]) -> int:
        """Of messages that nobody else has had yet, at least one; what is learned here is used by ``of``."""
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
        """Of messages that ``of_new`` has had. Those that were not asked are not asked now: a worker may be asking."""
        return sum(map(self._measure, messages)) if self._to_ask > 0 else int(self._each * len(messages))


def beside_value(message: Message) -> int:
    """Bytes of key and headers."""
    return len(message.key() or b"") + header_bytes(message)
