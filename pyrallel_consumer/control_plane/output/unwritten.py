"""The unwritten records of a worker: the item, its records, and each record on its way to the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.failures.letter import Letter
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.record import Record, Records


class Unwritten:
    """``records`` of ``item``, returned by its attempt of this number; compared by identity.

    ``letter`` is set if ``item`` failed permanently: then the letter is written, and there are no records. ``left``
    counts the records that are not acknowledged. ``is_refused``: one was, and the message waits for its next attempt.
    """

    __slots__ = ("attempt", "is_refused", "item", "left", "letter", "records", "size_bytes")

    def __init__(
        self, item: WorkItem, records: Records, attempt: int, *, size_bytes: int = 0, letter: Letter | None = None
    ) -> None:
        self.item = item
        self.records = records
        self.attempt = attempt
        self.left = len(records)
        self.size_bytes = size_bytes
        self.letter = letter
        self.is_refused = False

    def __repr__(self) -> str:
        return f"<Unwritten {self.item.id} {len(self.records)} records>"


class Outgoing:
    """One record of ``owner`` on its way to ``topic``; compared by identity.

    ``sequence`` ascends in the order in which workers returned. ``is_alone`` and ``failures`` are the queue's own.
    """

    __slots__ = ("failures", "has_added_key", "is_alone", "owner", "record", "sequence", "topic")

    lacks_key = False
    """The worker decides about the key: none is added."""

    def __init__(self, owner: Unwritten, record: Record, sequence: int) -> None:
        self.owner = owner
        self.record = record
        self.topic = record.topic
        self.sequence = sequence
        self.is_alone = False
        self.has_added_key = False
        self.failures = 0

    @property
    def item(self) -> WorkItem:
        return self.owner.item

    def can_shrink(self, code: str) -> bool:  # noqa: ARG002 -- as a letter
        """A record is written as the worker made it, or not at all."""
        return False

    def __repr__(self) -> str:
        return f"<Outgoing {self.owner.item.id} to {self.topic}>"
