"""How many bytes unfinished messages count, and when it is worth counting them again. Pure.

Between two counts new messages are added, and done messages are not subtracted. A count is due when a part of the
messages is done, so the cost is a few counts per message, however many are unfinished. With more than
``EXACT_MESSAGES`` up to a third of the counted messages may be done already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.dto import Message

MESSAGE_OVERHEAD_BYTES = 512
"""The cost of a message beside its key, value and headers: the client's object, the item, entries in our structures."""

EXACT_MESSAGES = 256
"""Up to this many messages are counted again whenever one is done."""
MEASURE_PART = 2
"""More messages are counted again when one in this many is done."""


def sum_of_sizes(messages: Sequence[Message]) -> int:
    """Bytes of load of these messages, without their headers."""
    keys = sum([len(key) for message in messages if (key := message.key()) is not None])
    return MESSAGE_OVERHEAD_BYTES * len(messages) + sum(map(len, messages)) + keys


def is_worth_counting(done: int, unfinished: int) -> bool:
    """Whether to count ``unfinished`` messages again when ``done`` were finished since the last count."""
    return bool(done) and (unfinished <= EXACT_MESSAGES or done * MEASURE_PART >= unfinished)
