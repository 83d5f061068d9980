"""Takes messages out of the client, splits them by partition, keeps them as read-ahead, and delivers them to the loop.

This is every message's path, so the only work per message is one check for errors and the split itself. Belongs to the
poll thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import dto
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.client_events import ClientEvents
from pyrallel_consumer.ingress.polling.lookups.log_ends import LogEnds
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead

# Trailing transaction markers move a position without a message, so positions are also read at this interval.
POSITIONS_EVERY_SECONDS: Final = 1.0
NO_POSITION: Final = -1


class Reader:
    """Reads on demand. Counts ``polls``, ``reads`` that brought messages, and delivered ``messages``."""

    def __init__(
        self,
        assignments: Assignments,
        read_ahead: ReadAhead,
        events: ClientEvents,
        clock: Callable[[], float],
        deliver: Callable[[Any], None],
        *,
        log_ends: LogEnds,
    ) -> None:
        self._log_ends = log_ends
        self._assignments = assignments
        self._read_ahead = read_ahead
        self._events = events
        self._clock = clock
        self._deliver = deliver
        self._handed_on: set[TopicPartition] = set()
        self._positions_at = clock()
        self.last_poll_at = clock()
        self.polls = 0
        self.reads = 0
        self.messages = 0

    def read(self, client: Consumer, limit: int, timeout_seconds: float) -> bool:
        """Wait for one message, and take all available ones up to ``limit`` in total. Returns whether one came.

        If none came, the client's positions advance the partitions whose messages have all been delivered.
        """
        self.polls += 1
        first = client.poll(timeout_seconds)
        self.last_poll_at = self._clock()
        if first is None:
            self._read_ahead.run_dry()
            self._look_at_positions(client)
            return False
        self._keep(self._taken(client, first, limit - 1))
        return True

    def hand_on(self, credit: int) -> None:
        """Deliver as many of the read messages as the loop allows."""
        if not self._read_ahead.has_ready:
            return
        for fact in self._read_ahead.take(credit, len(self._assignments)):
            self.messages += len(fact.messages)
            self._handed_on.add(fact.tp)
            self._deliver(fact)

    def poll_aside(self, client: Consumer, timeout_seconds: float) -> None:
        """Serve the client's callbacks; a message that comes is dropped, to be read by the partition's next owner."""
        self.polls += 1
        message = client.poll(timeout_seconds)
        self.last_poll_at = self._clock()
        error = None if message is None else message.error()
        if error is not None:
            self._events.note(error, "the client reports")

    def _taken(self, client: Consumer, first: Message, more: int) -> list[Message]:
        if more <= 0:
            return [first]
        tp = TopicPartition(cast("str", first.topic()), cast("int", first.partition()))
        epoch = self._assignments.epoch_of(tp)
        rest = client.consume(more, 0)
        if self._assignments.epoch_of(tp) != epoch:
            return rest  # a rebalance came in between, and `first` belongs to the assignment before it
        rest.insert(0, first)
        return rest

    def _keep(self, messages: list[Message]) -> None:
        good = [message for message in messages if message.error() is None]
        if len(good) != len(messages):
            for message in messages:
                self._note_error(message)
        if not good:
            return
        self.reads += 1
        for fact in self._read_ahead.put(self._assignments.split(cast("list[dto.Message]", good))):
            self._deliver(fact)

    def _note_error(self, message: Message) -> None:
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's public name of it
            return
        if message.topic() is None:
            self._events.note(error, "the client")
            return
        place = {"topic": message.topic(), "partition": message.partition()}
        self._events.note(error, f"reading {message.topic()}[{message.partition()}]", place)

    def _look_at_positions(self, client: Consumer) -> None:
        now = self._clock()
        handed_on, self._handed_on = self._handed_on, set()
        if now - self._positions_at >= POSITIONS_EVERY_SECONDS:
            self._positions_at = now
            handed_on = set(self._assignments)
        asked = [
            ClientPartition(tp.topic, tp.partition)
            for tp in handed_on
            if tp not in self._read_ahead and self._assignments.epoch_of(tp) is not None
        ]
        if not asked:
            return
        try:
            answers = client.position(asked)
        except KafkaException as error:
            self._events.note(error.args[0], "asking for positions")
            return
        first_offsets = self._log_ends.first_offsets
        for answer in answers:
            tp = TopicPartition(answer.topic, answer.partition)
            # If retention overtook the position, the client has no new one before the next message.
            known = answer.offset if answer.error is None else NO_POSITION
            position = max(known, first_offsets.get(tp, NO_POSITION))
            leader_epoch = answer.leader_epoch if position == known else None
            if position >= 0:
                fact = self._assignments.advance(tp, position, leader_epoch)
                if fact is not None:
                    self._deliver(fact)
