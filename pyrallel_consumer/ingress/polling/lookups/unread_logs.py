"""Whether the client reads nothing of a topic that was created again, because it asks the wrong broker.

librdkafka keeps the highest leader epoch of each partition by the topic's name, and ignores metadata with a lower one
(its issue 4898). The epochs of a new topic begin at zero. If another broker leads the new partition, or the old one was
without a leader when it was last seen, the client finds no leader until it ends. So the ends of these logs are compared
with the positions of the reader. Nothing waits for an answer. Belongs to the poll thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, Final

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook, answered
from pyrallel_consumer.ingress.polling.fetch_pauses import FetchPauses
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.log import Log, listed

LOGGER: Final = Log("pyrallel_consumer.ingress")
ASK_EVERY_SECONDS: Final = 3.0
MOST_SECONDS: Final = 60.0
"""The time between two questions doubles with each client that was lost: if another one does not help, it is rare."""
ANSWER_SECONDS: Final = 3.0
PATIENCE: Final = 4
"""So many answers in a row must tell of messages that are not read."""


class UnreadLogs:
    """Asks only about topics that are doubted."""

    def __init__(
        self,
        admin: AdminLook,
        assignments: Assignments,
        pauses: FetchPauses,
        read_ahead: ReadAhead,
        clock: Callable[[], float],
    ) -> None:
        self._admin = admin
        self._assignments = assignments
        self._pauses = pauses
        self._read_ahead = read_ahead
        self._ask_at = clock()
        self._every_seconds = ASK_EVERY_SECONDS
        self._answers: Mapping[TopicPartition, Future[Any]] = {}
        self._asked_at: dict[TopicPartition, int] = {}
        self._times: dict[tuple[TopicPartition, int], int] = {}
        """How often in a row a log went on, by the partition and what is to be read next."""

    def is_client_lost(self, topics: Collection[str], now: float) -> bool:
        """Whether a partition of these topics was not read for long, though its log goes on; it is then logged."""
        unread = self._hear() if self._answers else []
        if unread:
            LOGGER.warning(
                "nothing is read of %s since its topic was created again: the client looks for it at a broker that "
                "does not lead it, so another client joins the group",
                listed([str(tp) for tp in unread]),
                extra={"partitions": len(unread)},
            )
        elif not self._answers and now >= self._ask_at:
            self._ask_at = now + self._every_seconds
            self._ask(topics)
        return bool(unread)

    def forget(self) -> None:
        """Another client reads from now on."""
        self._answers = {}
        self._times = {}
        self._every_seconds = min(2 * self._every_seconds, MOST_SECONDS)

    def _ask(self, topics: Collection[str]) -> None:
        self._asked_at = {tp: at for tp in self._assignments if tp.topic in topics and (at := self._awaits(tp)) >= 0}
        self._times = {place: self._times.get(place, 0) for place in self._asked_at.items()}
        if self._asked_at:
            self._answers = self._admin.stable_ends(self._asked_at, ANSWER_SECONDS)

    def _awaits(self, tp: TopicPartition) -> int:
        """The offset that the client should read next; -1 if it need not read."""
        at = self._assignments.next_offset_of(tp)
        return -1 if at is None or self._pauses.is_paused(tp) or tp in self._read_ahead else at

    def _hear(self) -> list[TopicPartition]:
        self._admin.serve()
        if not all(answer.done() for answer in self._answers.values()):
            return []
        answers, self._answers = self._answers, {}
        for tp, answer in answers.items():
            end, at = answered(answer), self._asked_at[tp]
            if end is not None:
                self._times[tp, at] = self._times[tp, at] + 1 if self._awaits(tp) == at < end.offset else 0
        return sorted(tp for (tp, _), times in self._times.items() if times >= PATIENCE)
