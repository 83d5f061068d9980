"""The finished offsets above a committed offset, as a value: commits carry it and assignments restore it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """Every offset in ``[base, top)`` that is not in ``unfinished`` is finished, or never existed.

    ``unfinished`` ascends strictly and lies within ``[base, top)``. ``base == top`` means that nothing is known beyond
    the committed offset ``base``.

    ``leader_epoch`` is Kafka's leader epoch of the last record below ``top``, None if unknown. The map is about the log
    of that time: a record below ``top`` with a newer leader epoch was written after the log had been cut.
    """

    base: int
    top: int
    unfinished: tuple[int, ...] = ()
    leader_epoch: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing above ``base`` is finished, so that the map says no more than the offset does."""
        return self.top - self.base == len(self.unfinished)
