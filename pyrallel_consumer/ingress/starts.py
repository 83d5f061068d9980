"""Where newly assigned partitions begin: asks the broker what ``start_offset`` decides upon. For the poll thread.

Runs inside the rebalance callback, so every question has a timeout, and all of them together a bound; the end of the
consumer is not held up by them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.start_offset import Reset, Start, needs_watermarks, resolve
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client_errors import translate_client_error
from pyrallel_consumer.ingress.commits import NO_LEADER_EPOCH
from pyrallel_consumer.ingress.ending import Ending
from pyrallel_consumer.ingress.error_kinds import is_fatal
from pyrallel_consumer.ingress.log_throttle import LogThrottle
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
ALL_QUESTIONS_SECONDS: Final = 60.0
FIRST_TIMEOUT_SECONDS: Final = 1.0
LONGEST_TIMEOUT_SECONDS: Final = 10.0
BETWEEN_TRIES_SECONDS: Final = 0.1


T = TypeVar("T")


class SearchGivenUp(Exception):  # noqa: N818 -- says what happened; for the rebalance callback alone
    """The consumer ends: nobody wants to know any more where partitions begin."""


@dataclass(frozen=True, slots=True)
class FoundStart:
    """A start, and Kafka's leader epoch of the committed offset, by which the client notices a truncated log."""

    start: Start
    leader_epoch: int | None

    def for_client(self) -> ClientPartition:
        """The start in the form in which the client is assigned partitions."""
        tp = self.start.tp
        return ClientPartition(
            tp.topic,
            tp.partition,
            self.start.offset,
            leader_epoch=NO_LEADER_EPOCH if self.leader_epoch is None else self.leader_epoch,
        )


class StartSearch:
    """Finds starts, with as many tries as fit into the bound."""

    def __init__(self, reset: Reset, ending: Ending, clock: Callable[[], float], throttle: LogThrottle) -> None:
        self._reset = reset
        self._ending = ending
        self._clock = clock
        self._throttle = throttle

    def find(self, client: Consumer, tps: Sequence[TopicPartition]) -> list[FoundStart]:
        """The starts of ``tps``, in their order.

        Raises:
            SearchGivenUp: the end was asked for.
            BrokerError: no answer within the bound, not authorized, or no offset where ``reset`` is ``error``.
        """
        deadline = self._clock() + ALL_QUESTIONS_SECONDS
        asked = [ClientPartition(tp.topic, tp.partition) for tp in tps]

        def committed(timeout: float) -> list[ClientPartition]:
            answers = client.committed(asked, timeout=timeout)
            for answer in answers:
                if answer.error is not None:
                    raise KafkaException(answer.error)
            return answers

        found = []
        for answer in self._asked("the committed offsets of the group", committed, deadline):
            tp = TopicPartition(answer.topic, answer.partition)
            committed_offset = answer.offset if answer.offset >= 0 else None
            low = high = 0
            if needs_watermarks(committed_offset, answer.metadata):
                low, high = self._asked(f"the ends of the log of {tp}", _ends(client, answer), deadline)
            start = resolve(tp, committed_offset, answer.metadata, low=low, high=high, reset=self._reset)
            if start.warning:
                LOGGER.warning(
                    start.warning, extra={"topic": tp.topic, "partition": tp.partition, "offset": start.offset}
                )
            found.append(FoundStart(start, None if committed_offset is None else answer.leader_epoch))
        return found

    def _asked(self, what: str, question: Callable[[float], T], deadline: float) -> T:
        timeout = FIRST_TIMEOUT_SECONDS
        while True:
            if self._ending.is_asked:
                raise SearchGivenUp
            try:
                return question(min(timeout, max(0.1, deadline - self._clock())))
            except KafkaException as raised:
                error: KafkaError = raised.args[0]
                if is_fatal(error) or self._clock() >= deadline:
                    raise translate_client_error(error, f"asking for {what}") from raised
                self._throttle.log(
                    logging.WARNING,
                    f"start {error.name()}",
                    f"the broker did not tell {what}, asking again: {error.str()}",
                    {"code": error.name()},
                )
            self._ending.wait_asked(BETWEEN_TRIES_SECONDS)
            timeout = min(2 * timeout, LONGEST_TIMEOUT_SECONDS)


def _ends(client: Consumer, place: ClientPartition) -> Callable[[float], tuple[int, int]]:
    return lambda timeout: client.get_watermark_offsets(place, timeout=timeout)
