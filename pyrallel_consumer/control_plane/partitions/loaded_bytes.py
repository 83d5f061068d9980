"""How many bytes unfinished messages count as, and when it is worth to count them anew. Pure.

In between only what comes in is counted, not what is done. A count is due when a part of the messages is done, so each
message pays for a few counts at most, however many are unfinished. Of more than ``EXACT_MESSAGES`` up to a third is
counted that is done already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.dto import Message

MESSAGE_OVERHEAD_BYTES = 512
"""What a message costs beside its key, value and headers: the client's object, the item, its places in our books."""

EXACT_MESSAGES = 256
"""So many are counted whenever one is done."""
MEASURE_PART = 2
"""A larger number is counted when this part of it is done."""


def sum_of_sizes(messages: Sequence[Message]) -> int:
    """Bytes that read messages count as load, without their headers."""
    keys = sum([len(key) for message in messages if (key := message.key()) is not None])
    return MESSAGE_OVERHEAD_BYTES * len(messages) + sum(map(len, messages)) + keys


def is_worth_counting(done: int, unfinished: int) -> bool:
    """Whether to count ``unfinished`` messages anew when so many were done since the last count."""
    return bool(done) and (unfinished <= EXACT_MESSAGES or done * MEASURE_PART >= unfinished)
