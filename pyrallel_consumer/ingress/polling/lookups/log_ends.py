"""Where the logs of the assigned partitions end, for the broker lag. Belongs to the poll thread.

Every fetch response contains the end of the log, and the client keeps it: reading it costs no round trip. A paused
partition has no fetch responses, so the broker is asked: one partition at a time, rarely, with a short timeout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.polling.fetch_pauses import FetchPauses
from pyrallel_consumer.ingress.reading.assignments import Assignments

LOOK_EVERY_SECONDS: Final = 1.0
ASK_EVERY_SECONDS: Final = 5.0
ASK_SECONDS: Final = 0.1
"""How long the broker may take; commands and rebalances wait meanwhile."""
UNKNOWN: Final = -1


class LogEnds:
    """``offsets`` (exclusive: the next one to be written) by partition; replaced and never changed, for any thread.

    ``first_offsets`` are the beginnings of the logs, for partitions that are fetched.
    """

    def __init__(self, assignments: Assignments, pauses: FetchPauses, clock: Callable[[], float]) -> None:
        self.offsets: Mapping[TopicPartition, int] = {}
        self.first_offsets: Mapping[TopicPartition, int] = {}
        self._odd: set[TopicPartition] = set()
        self._assignments = assignments
        self._pauses = pauses
        self._look_at = clock()
        self._ask_at = clock()
        self._asked: dict[TopicPartition, int] = {}
        self._turns: deque[TopicPartition] = deque()

    def look(self, client: Consumer, now: float) -> None:
        """Note the client's numbers about once a second, and rarely ask the broker about a partition without any."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_SECONDS
        paused = {tp for tp in self._assignments if self._pauses.is_paused(tp)}
        self._asked = {tp: end for tp, end in self._asked.items() if tp in paused}
        if paused and now >= self._ask_at:
            self._ask_at = now + ASK_EVERY_SECONDS
            self._ask(client, paused)
        known = {tp: _ends(client, tp) for tp in self._assignments}
        before = self.offsets
        self.first_offsets = {tp: first for tp, (first, _) in known.items() if first > UNKNOWN and tp not in paused}
        self.offsets = {
            tp: end for tp, (_, cached) in known.items() if (end := max(cached, self._asked.get(tp, UNKNOWN))) > UNKNOWN
        }
        self._odd.update(tp for tp, end in before.items() if tp in known and self.offsets.get(tp, UNKNOWN) < end)

    def take_odd(self) -> set[TopicPartition]:
        """The partitions whose log became shorter, or lost its end, since the last call."""
        odd, self._odd = self._odd, set()
        return odd

    def _ask(self, client: Consumer, paused: set[TopicPartition]) -> None:
        self._turns = deque(tp for tp in self._turns if tp in paused)
        self._turns.extendleft(paused.difference(self._turns))
        tp = self._turns.popleft()
        self._turns.append(tp)
        self._asked[tp] = _ends(client, tp, ASK_SECONDS)[1]


def _ends(client: Consumer, tp: TopicPartition, ask_seconds: float | None = None) -> tuple[int, int]:
    place = ClientPartition(tp.topic, tp.partition)
    options: dict[str, Any] = {"cached": True} if ask_seconds is None else {"timeout": ask_seconds}
    try:
        found: tuple[int, int] | None = client.get_watermark_offsets(place, **options)
    except KafkaException:
        return UNKNOWN, UNKNOWN  # The next look may succeed; a missing lag needs no warning.
    return (max(UNKNOWN, found[0]), max(UNKNOWN, found[1])) if found else (UNKNOWN, UNKNOWN)
