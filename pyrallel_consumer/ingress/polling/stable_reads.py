"""Which new partitions have an open transaction of their former owner, exactly once. For the poll thread.

Until that transaction has ended, nobody knows which messages are finished. The client's own question for committed
offsets waits for all partitions together. This one answers for each, so only the partition concerned waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from typing import Any, Final

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook, answered

UNSTABLE: Final = "UNSTABLE_OFFSET_COMMIT"
FIRST_SECONDS: Final = 2.0
"""How long the first question may take; without an answer no partition counts as waiting."""
BETWEEN_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 5.0


class StableReads:
    """``waiting_since`` has the waiting partitions, and since when they wait, in seconds of ``clock``."""

    def __init__(self, admin: AdminLook, group: str, clock: Callable[[], float]) -> None:
        self.waiting_since: dict[TopicPartition, float] = {}
        self._admin = admin
        self._group = group
        self._clock = clock
        self._asked: Future[Any] | None = None
        self._ask_at = 0.0

    def begin(self, tps: Collection[TopicPartition]) -> set[TopicPartition]:
        """The partitions of ``tps`` that must wait; waits for the answer.

        What is known of an earlier assignment is forgotten: a client that lost its brokers gives nothing back.
        """
        self.forget(tps)
        self._asked = None
        answer = self._admin.committed_offsets(self._group, tps, FIRST_SECONDS)
        if answer is None:
            return set()
        self._admin.wait([answer], FIRST_SECONDS)
        unstable = {tp for tp, error in _errors(answer).items() if error == UNSTABLE}
        now = self._clock()
        self.waiting_since |= dict.fromkeys(unstable, now)
        self._ask_at = now + BETWEEN_SECONDS
        return unstable

    def ended(self, now: float) -> list[TopicPartition]:
        """The waiting partitions whose transaction has ended; asks now and then, and does not wait."""
        if not self.waiting_since:
            return []
        self._admin.serve()
        if self._asked is None:
            if now >= self._ask_at:
                self._asked = self._admin.committed_offsets(self._group, self.waiting_since, ANSWER_SECONDS)
            return []
        if not self._asked.done():
            return []
        told, self._asked, self._ask_at = _errors(self._asked), None, now + BETWEEN_SECONDS
        return [tp for tp in self.waiting_since if tp in told and told[tp] is None]

    def forget(self, tps: Iterable[TopicPartition]) -> None:
        """These partitions have begun, or are no longer assigned."""
        for tp in tps:
            self.waiting_since.pop(tp, None)


def _errors(answer: Future[Any]) -> dict[TopicPartition, str | None]:
    """By partition the name of its error, None where there is none; empty if there is no answer."""
    told = answered(answer)
    if told is None:
        return {}
    return {
        TopicPartition(each.topic, each.partition): None if each.error is None else each.error.name()
        for each in told.topic_partitions
    }
