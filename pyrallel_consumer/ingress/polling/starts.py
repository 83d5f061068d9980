"""Where newly assigned partitions begin: asks the broker the questions of ``start_offset``. For the poll thread.

Runs inside the rebalance callback. Each kind of question is one request for all partitions. Unanswered questions are
repeated as long as answers come in. If none comes for a while, the search is given up and the member rejoins its group,
so that a single absent broker cannot block the member. A partition without a leader holds the others up for seconds
only: it begins where the group has committed. The end of the consumer does not wait for questions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.error_kinds import is_fatal
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.polling.commits import NO_LEADER_EPOCH
from pyrallel_consumer.ingress.polling.ending import Ending
from pyrallel_consumer.ingress.reading.start_offset import (
    Committed,
    LogRange,
    Position,
    Reset,
    Start,
    believe,
    is_believable,
    resolve,
    restore,
)
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
PATIENCE_SECONDS: Final = 60.0
"""The search is given up after this long without any answer."""
FIRST_TIMEOUT_SECONDS: Final = 1.0
LONGEST_TIMEOUT_SECONDS: Final = 10.0
BETWEEN_TRIES_SECONDS: Final = 0.1
DOUBT_SECONDS: Final = 5.0
"""How long the ends of a log are requested if the commit can be believed without them."""
# Kafka's codes for the two ends of a log, in place of a time.
BEGINNING: Final = -2
END: Final = -1

Question = Callable[[list[ClientPartition], float], list[ClientPartition]]


class SearchGivenUp(Exception):  # noqa: N818 -- says what happened; for the rebalance callback alone
    """The consumer ends, so the starts of partitions are no longer needed."""


class NobodyAnswered(SearchGivenUp):
    """No answer came for ``PATIENCE_SECONDS``: the member must release its partitions and rejoin its group."""


class StartSearch:
    """Finds starts by ``reset``. ``is_read_committed``: the client's end of a log is the first open transaction."""

    def __init__(
        self,
        reset: Reset,
        *,
        is_read_committed: bool,
        admin: AdminLook,
        ending: Ending,
        clock: Callable[[], float],
        throttle: LogThrottle,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.reset = reset
        self._is_read_committed = is_read_committed
        self._admin = admin
        self._ending = ending
        self._clock = clock
        self._throttle = throttle
        self._patience_seconds = patience_seconds

    def find(self, client: Consumer, tps: Sequence[TopicPartition]) -> list[Start]:
        """The starts of ``tps``, in their order.

        Raises:
            SearchGivenUp: the end was asked for.
            NobodyAnswered: no answer came for too long.
            BrokerError: not authorized, or no offset while ``reset`` is ``error``.
        """
        committed = {
            tp: Committed(answer.offset, answer.metadata, answer.leader_epoch) if answer.offset >= 0 else None
            for tp, answer in self._ask(
                "the committed offsets of the group",
                tps,
                lambda places, timeout: client.committed(places, timeout=timeout),
            ).items()
        }
        believable = {tp for tp in tps if is_believable(committed[tp], self.reset)}
        logs = self._log_ranges(client, tps, believable)
        logs |= self._without_doubt({tp: committed[tp] for tp in logs}, logs)
        starts = [
            resolve(tp, committed[tp], logs[tp], self.reset) if tp in logs else believe(tp, committed[tp]) for tp in tps
        ]
        for start in starts:
            if start.warning:
                tp = start.tp
                extra = {"topic": tp.topic, "partition": tp.partition, "offset": start.offset}
                LOGGER.warning("%s", start.warning, extra=extra)
        return starts

    def _log_ranges(
        self, client: Consumer, tps: Sequence[TopicPartition], dispensable: Container[TopicPartition]
    ) -> dict[TopicPartition, LogRange]:
        """The offsets in the logs, as the client reads them. Raises like ``find``.

        ``dispensable`` partitions may be missing in the result.
        """

        def ends(at: int) -> Question:
            return lambda places, timeout: client.offsets_for_times(
                [ClientPartition(place.topic, place.partition, at) for place in places], timeout=timeout
            )

        low = self._ask("the beginning of the log", tps, ends(BEGINNING), dispensable)
        high = self._ask("the end of the log", list(low), ends(END), dispensable)
        return {tp: LogRange(_position(low[tp]), _position(end), _position(end)) for tp, end in high.items()}

    def _without_doubt(
        self, committed: Mapping[TopicPartition, Committed | None], logs: Mapping[TopicPartition, LogRange]
    ) -> dict[TopicPartition, LogRange]:
        """The ranges of the logs for which the reader's end does not show whether the log holds the committed offset.

        An earlier owner that read uncommitted records may have committed beyond the first open transaction. If the
        range is unknown, the commit is believed: the client notices by itself if its offset is out of range.
        """
        doubtful = {
            tp: known
            for tp, known in committed.items()
            if known is not None and _reaches_past(tp, known, logs[tp].high.offset)
        }
        if not doubtful or not self._is_read_committed:
            return {}
        ends = self._admin.high_watermarks(doubtful, DOUBT_SECONDS)
        ranges = {}
        for tp, known in doubtful.items():
            log = logs[tp]
            believed = Position(max(log.high.offset, known.offset), log.high.leader_epoch)
            ranges[tp] = LogRange(log.low, ends.get(tp, believed), log.latest)
        return ranges

    def _ask(
        self,
        what: str,
        tps: Sequence[TopicPartition],
        question: Question,
        dispensable: Container[TopicPartition] = (),
    ) -> dict[TopicPartition, ClientPartition]:
        """The answers. After ``DOUBT_SECONDS``, missing answers are given up if all of them are ``dispensable``."""
        found: dict[TopicPartition, ClientPartition] = {}
        missing = list(tps)
        timeout = FIRST_TIMEOUT_SECONDS
        patient_until = self._clock() + self._patience_seconds
        doubt_until = self._clock() + DOUBT_SECONDS
        while missing:
            if self._ending.is_asked:
                raise SearchGivenUp
            error: KafkaError | None = None
            try:
                answers = question([ClientPartition(tp.topic, tp.partition) for tp in missing], timeout)
            except KafkaException as raised:
                error, answers = raised.args[0], []
            for answer in answers:
                if answer.error is None:
                    found[TopicPartition(answer.topic, answer.partition)] = answer
                else:
                    error = answer.error
            if error is not None and is_fatal(error):
                raise translate_client_error(error, f"asking for {what}")
            left = [tp for tp in missing if tp not in found]
            if not left or (self._clock() >= doubt_until and all(tp in dispensable for tp in left)):
                break
            if len(left) < len(missing):
                patient_until = self._clock() + self._patience_seconds
                timeout = FIRST_TIMEOUT_SECONDS
            missing = left
            self._note(what, missing, error, is_over=self._clock() >= patient_until)
            self._ending.wait_asked(BETWEEN_TRIES_SECONDS)
            timeout = min(2 * timeout, LONGEST_TIMEOUT_SECONDS)
        return found

    def _note(self, what: str, missing: Sequence[TopicPartition], error: KafkaError | None, *, is_over: bool) -> None:
        code = "no answer" if error is None else error.name()
        why = code if error is None else error.str()
        told = f"the broker did not tell {what} for {missing[0]}"
        if len(missing) > 1:
            told += f" and {len(missing) - 1} more partitions"
        if is_over:
            LOGGER.error(
                "%s for %g s: leaving the group and joining it anew: %s",
                told,
                self._patience_seconds,
                why,
                extra={"code": code},
            )
            raise NobodyAnswered
        self._throttle.log(logging.WARNING, f"start {code}", f"{told}, asking again: {why}", {"code": code})


def for_client(start: Start) -> ClientPartition:
    """The start in the form that the client needs for an assignment.

    From the leader epoch the client notices if the log was cut below the start.
    """
    leader_epoch = NO_LEADER_EPOCH if start.leader_epoch is None else start.leader_epoch
    return ClientPartition(start.tp.topic, start.tp.partition, start.offset, leader_epoch=leader_epoch)


def _position(answer: ClientPartition) -> Position:
    return Position(answer.offset, answer.leader_epoch)


def _reaches_past(tp: TopicPartition, committed: Committed, high: int) -> bool:
    return committed.offset > high or restore(tp, committed, high).is_gone
