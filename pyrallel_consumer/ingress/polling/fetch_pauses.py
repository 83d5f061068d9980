"""Why partitions are not fetched: the loop may pause single partitions, and some reasons hold for all.

A partition is fetched exactly while it has no reason to pause. While the loop wants it paused, its read-ahead messages
are held back too. Belongs to the poll thread; it knows no epochs, because the callers have checked them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")

# Reasons that hold for all. The loop's own reasons (exhausted, user, fair shares) are one reason here: it sends the
# sum.
LOAD: Final = "load"
STOPPING: Final = "stopping"
# One partition of each broker is enough to wake its thread, and neighbouring partitions have different leaders.
MOST_WAKING_SEEKS: Final = 64


class FetchPauses:
    """The reasons, and the client's pauses that follow from them, for the partitions in ``assignments``."""

    def __init__(self, assignments: Assignments, read_ahead: ReadAhead, throttle: LogThrottle | None = None) -> None:
        self._assignments = assignments
        self._read_ahead = read_ahead
        self._throttle = throttle or LogThrottle(LOGGER, time.monotonic)
        self._everywhere: set[str] = set()
        self._by_loop: set[TopicPartition] = set()

    def is_paused(self, tp: TopicPartition) -> bool:
        """Whether there is a reason not to fetch ``tp``."""
        return bool(self._everywhere) or tp in self._by_loop

    def pause(self, client: Consumer, tp: TopicPartition) -> None:
        """Stop fetching ``tp``, for the loop. No effect if the loop has paused it already."""
        if tp not in self._by_loop:
            self._by_loop.add(tp)
            self._read_ahead.hold(tp)
            self._tell(client, [tp])

    def resume(self, client: Consumer, tp: TopicPartition) -> None:
        """The loop's reason is gone: fetch ``tp`` unless another reason holds. No effect if the loop had none."""
        if tp in self._by_loop:
            self._by_loop.remove(tp)
            self._read_ahead.resume(tp)
            self._wake(client, self._tell(client, [tp]))

    def pause_all(self, client: Consumer, reason: str) -> None:
        """Fetch nothing, for a reason that also holds for partitions assigned later. No effect if it holds already."""
        if reason not in self._everywhere:
            self._everywhere.add(reason)
            self._tell(client, self._assignments)

    def resume_all(self, client: Consumer, reason: str) -> None:
        """Drop a reason that held for all; partitions with another one stay paused. No effect if there is none."""
        if reason in self._everywhere:
            self._everywhere.remove(reason)
            self._wake(client, self._tell(client, self._assignments))

    def settle(self, client: Consumer, tps: Collection[TopicPartition]) -> None:
        """Pause or resume every newly assigned partition, because the client remembers earlier pauses."""
        self.forget(tps)
        self._tell(client, tps)

    def forget(self, tps: Iterable[TopicPartition]) -> None:
        """These partitions are no longer assigned: the loop's reasons for them are void."""
        self._by_loop.difference_update(tps)

    def _tell(self, client: Consumer, tps: Iterable[TopicPartition]) -> list[ClientPartition]:
        """Pause and resume at the client; returns the resumed partitions."""
        to_pause: list[ClientPartition] = []
        to_resume: list[ClientPartition] = []
        for tp in tps:
            (to_pause if self.is_paused(tp) else to_resume).append(ClientPartition(tp.topic, tp.partition))
        try:
            if to_pause:
                client.pause(to_pause)
            if to_resume:
                client.resume(to_resume)
        except KafkaException as error:
            # The client refuses only a partition that it has released meanwhile, and that is not fetched anyway.
            said = f"the client did not pause or resume as told: {error}"
            self._throttle.log(logging.WARNING, "pause", said, {"code": error.args[0].name()})
        return to_resume

    def _wake(self, client: Consumer, resumed: Sequence[ClientPartition]) -> None:
        """Make the client fetch at once: its idle thread sleeps for up to a second, even after a resume.

        A seek wakes it. The seek goes to the client's own position, after all messages that were read, and asks the
        broker nothing.
        """
        for partition in resumed[:MOST_WAKING_SEEKS]:
            next_offset = self._assignments.next_offset_of(TopicPartition(partition.topic, partition.partition))
            if next_offset is None:
                continue
            partition.offset = next_offset
            try:
                client.seek(partition)
            except KafkaException as error:
                LOGGER.debug("the client did not seek: %s", error)  # it is not ready to fetch yet
