"""The reasons for which partitions are paused, and the changes that the client has not been told yet.

Fetching resumes when a partition has no reason left, in whatever order reasons came and went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.dto import TopicPartition


class Pauses:
    """The reasons of each paused partition. It does not know the assignment: ``forget`` partitions that have gone."""

    def __init__(self) -> None:
        self._reasons: dict[TopicPartition, set[str]] = {}
        self._changed: dict[TopicPartition, None] = {}

    def add(self, tp: TopicPartition, reason: str) -> None:
        """Pause ``tp`` until this reason, and every other, is gone."""
        reasons = self._reasons.setdefault(tp, set())
        if not reasons:
            self._changed[tp] = None
        reasons.add(reason)

    def remove(self, tp: TopicPartition, reason: str) -> bool:
        """This reason is gone; returns whether it was there."""
        reasons = self._reasons.get(tp)
        if reasons is None or reason not in reasons:
            return False
        reasons.remove(reason)
        if not reasons:
            del self._reasons[tp]
            self._changed[tp] = None
        return True

    def repeat(self, tp: TopicPartition) -> None:
        """The client needs to be told again."""
        self._changed[tp] = None

    def forget(self, tp: TopicPartition) -> None:
        """The partition is no longer assigned."""
        self._reasons.pop(tp, None)
        self._changed.pop(tp, None)

    def reasons(self, tp: TopicPartition) -> frozenset[str]:
        """Why ``tp`` is paused; empty if it is not."""
        return frozenset(self._reasons.get(tp, ()))

    def paused_for(self, reason: str) -> set[TopicPartition]:
        """The partitions that have this reason, among others or alone."""
        return {tp for tp, reasons in self._reasons.items() if reason in reasons}

    def take_changes(self) -> list[tuple[TopicPartition, bool]]:
        """The changes to tell the client: partitions, and whether each is paused."""
        changes = [(tp, tp in self._reasons) for tp in self._changed]
        self._changed.clear()
        return changes
