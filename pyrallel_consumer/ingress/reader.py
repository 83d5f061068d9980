"""One read after the other: messages out of the client, stamped and cut by partition, into the loop's inbox.

The way of every message, so nothing here is done per message but one look for errors and the cut itself. Belongs to the
poll thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import dto
from pyrallel_consumer.control_plane.assignments import Assignments
from pyrallel_consumer.control_plane.events import Delivered
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client_events import ClientEvents

# Trailing transaction markers move a position without a message, so positions are looked at without cause, too.
POSITIONS_EVERY_SECONDS: Final = 1.0


class Reader:
    """Reads when told to. Counts ``polls``, ``reads`` that brought messages, and ``messages`` handed on."""

    def __init__(
        self,
        assignments: Assignments,
        events: ClientEvents,
        clock: Callable[[], float],
        deliver: Callable[[Any], None],
    ) -> None:
        self._assignments = assignments
        self._events = events
        self._clock = clock
        self._deliver = deliver
        self._has_read = False
        self._positions_at = clock()
        self.last_poll_at = clock()
        self.polls = 0
        self.reads = 0
        self.messages = 0

    def read(self, client: Consumer, limit: int, timeout_seconds: float) -> None:
        """Wait for one message, take what else is there up to ``limit`` in all, and hand it on.

        Where nothing came, all that was read before has been handed on, and the client's positions tell how far the log
        is done with.
        """
        self.polls += 1
        first = client.poll(timeout_seconds)
        self.last_poll_at = self._clock()
        if first is None:
            self._look_at_positions(client)
            return
        self._hand_on(self._taken(client, first, limit - 1))

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
            return rest  # a rebalance came in between, and `first` belongs to what was before it
        rest.insert(0, first)
        return rest

    def _hand_on(self, messages: list[Message]) -> None:
        good = [message for message in messages if message.error() is None]
        if len(good) != len(messages):
            for message in messages:
                self._note_error(message)
        if not good:
            return
        self.reads += 1
        self._has_read = True
        for fact in self._assignments.split(cast("list[dto.Message]", good)):
            if type(fact) is Delivered:
                self.messages += len(fact.messages)
            self._deliver(fact)

    def _note_error(self, message: Message) -> None:
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's public name of it
            return
        where = "the client" if message.topic() is None else f"reading {message.topic()}[{message.partition()}]"
        self._events.note(error, where)

    def _look_at_positions(self, client: Consumer) -> None:
        now = self._clock()
        if not self._has_read and now - self._positions_at < POSITIONS_EVERY_SECONDS:
            return
        self._has_read = False
        self._positions_at = now
        asked = [ClientPartition(tp.topic, tp.partition) for tp in self._assignments]
        if not asked:
            return
        try:
            answers = client.position(asked)
        except KafkaException as error:
            self._events.note(error.args[0], "asking for positions")
            return
        for answer in answers:
            if answer.offset >= 0 and answer.error is None:
                fact = self._assignments.advance(TopicPartition(answer.topic, answer.partition), answer.offset)
                if fact is not None:
                    self._deliver(fact)
