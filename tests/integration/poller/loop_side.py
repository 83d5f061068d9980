"""A plain stand-in for the event loop's side of a poll thread: takes facts in, answers, grants, and keeps a book.

It knows only the facts: they alone say what is assigned, read and committed. ``finish`` decides what
counts as finished when partitions are revoked; by default all that was delivered.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.config.typed.choices import OffsetReset
from pyrallel_consumer.control_plane.events import (
    Assigned,
    Commit,
    CommitAnswered,
    CommitSnapshot,
    Delivered,
    Lost,
    OffsetWentBack,
    PollerClosed,
    PollerFailed,
    PollThreadFroze,
    PositionAdvanced,
    RevokeAsked,
)
from pyrallel_consumer.dto import Message, TopicPartition
from pyrallel_consumer.ingress.broker_poller import BrokerPoller, PollerPolicy
from pyrallel_consumer.ingress.client.client_settings import consumer_configuration
from pyrallel_consumer.ingress.reading.subscription import parse_topic
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker

DEADLINE_SECONDS = 30.0
UNLIMITED = 10**9

Fact = TypeVar("Fact")


class LoopSide:
    """Records facts; ``owned`` maps assigned partitions to their epochs, ``read`` holds messages by partition."""

    def __init__(self) -> None:
        self.facts: list[Any] = []
        self.owned: dict[TopicPartition, int] = {}
        self.read: dict[TopicPartition, list[Message]] = defaultdict(list)
        self.read_under: list[tuple[TopicPartition, int, int]] = []
        self.next_offsets: dict[TopicPartition, int] = {}
        self.is_answering = True
        self.is_closed = False
        self._changed = threading.Condition()

    def deliver(self, fact: object) -> None:
        with self._changed:
            if self.is_closed:
                raise RuntimeError("Event loop is closed")
            self.facts.append(fact)
            self._take(fact)
            self._changed.notify_all()

    def until(self, holds: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(holds()), seconds), (
                f"waited in vain; last: {_told(self.facts[-9:])}"
            )

    def of(self, kind: type[Fact]) -> list[Fact]:
        with self._changed:
            return [fact for fact in self.facts if isinstance(fact, kind)]

    def offsets(self, tp: TopicPartition) -> list[int]:
        with self._changed:
            return [message.offset() for message in self.read[tp]]

    @property
    def count(self) -> int:
        return sum(len(messages) for messages in self.read.values())

    def snapshots(self, *, metadata: str = "") -> tuple[CommitSnapshot, ...]:
        with self._changed:
            return tuple(self._snapshot(tp, epoch, metadata) for tp, epoch in self.owned.items())

    def answer_to(self, number: int) -> CommitAnswered:
        self.until(lambda: any(isinstance(f, CommitAnswered) and f.number == number for f in self.facts))
        return next(answer for answer in self.of(CommitAnswered) if answer.number == number)

    def _snapshot(self, tp: TopicPartition, epoch: int, metadata: str = "") -> CommitSnapshot:
        return CommitSnapshot(tp, epoch, self.next_offsets[tp], metadata, 0, None)

    def _take(self, fact: object) -> None:
        match fact:
            case Assigned():
                assert fact.tp not in self.owned
                self.owned[fact.tp] = fact.epoch
                self.next_offsets[fact.tp] = fact.start_offset
            case Delivered():
                assert self.owned[fact.tp] == fact.epoch
                self.read[fact.tp].extend(fact.messages)
                self.read_under.extend((fact.tp, message.offset(), fact.epoch) for message in fact.messages)
                self.next_offsets[fact.tp] = fact.messages[-1].offset() + 1
            case OffsetWentBack():
                self.owned[fact.tp] = fact.epoch
            case Lost():
                self.owned.pop(fact.tp, None)
            case RevokeAsked() if self.is_answering:
                fact.answer(tuple(self._snapshot(tp, epoch) for tp, epoch in fact.partitions))
                for tp, _ in fact.partitions:
                    del self.owned[tp]
            case PositionAdvanced() | CommitAnswered() | PollerClosed() | PollerFailed() | RevokeAsked():
                pass
            case PollThreadFroze():
                pass
            case _:
                raise AssertionError(f"no fact of the poll thread: {fact!r}")


class Member:
    """A poller and its loop side."""

    def __init__(
        self,
        broker: EmbeddedBroker,
        topic: str | list[str],
        group: str,
        *,
        policy: PollerPolicy | None = None,
        dlq_suffix: str | None = None,
        auto_offset_reset: OffsetReset = "earliest",
        librdkafka: Mapping[str, object] | None = None,
        boot_clock: Callable[[], float] | None = None,
    ) -> None:
        theirs = dict(librdkafka or {})
        by_broker = theirs.get("group.protocol") == "consumer"
        config = KafkaConfig(
            bootstrap_servers=broker.bootstrap_servers.split(","),
            consumer_group=group,
            auto_offset_reset=auto_offset_reset,
            librdkafka=({} if by_broker else dict(broker.client_settings)) | theirs,
        )
        self.side = LoopSide()
        self.poller = BrokerPoller(
            consumer_configuration(config),
            subscription=parse_topic(topic, dlq_suffix),
            deliver=self.side.deliver,
            policy=policy or PollerPolicy(),
            boot_clock=boot_clock,
        )

    def start(self, grant: int = UNLIMITED) -> None:
        self.poller.grant(grant)
        self.poller.start().result(DEADLINE_SECONDS)

    def read_at_least(self, messages: int) -> None:
        self.side.until(lambda: self.side.count >= messages)

    def until_read_ahead(self, messages: int) -> None:
        """Wait until this many messages are read and not handed on."""
        wait_until(lambda: self.poller.get_metrics()["messages_read_ahead"] == messages)

    def poll_on(self, times: int = 5) -> None:
        """Wait until the client was polled this many more times."""
        polls = self.poller.get_metrics()["polls"]
        wait_until(lambda: self.poller.get_metrics()["polls"] >= polls + times)

    def close(self, seconds: float = 10.0) -> None:
        self.poller.close(seconds)
        self.poller.ended.result(DEADLINE_SECONDS)

    def commit(self, number: int, snapshots: tuple[CommitSnapshot, ...]) -> CommitAnswered:
        self.poller.commit(Commit(number, snapshots))
        return self.side.answer_to(number)

    def abandon(self) -> None:
        self.poller.abandon()
        if self.poller.is_alive:
            self.poller.ended.result(DEADLINE_SECONDS)


@contextmanager
def running(*members: Member, grant: int = UNLIMITED) -> Iterator[None]:
    """Start members; their threads have ended after the test, whatever happens."""
    try:
        for member in members:
            member.start(grant)
        yield
    finally:
        for member in members:
            member.abandon()


def wait_until(holds: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for a condition that no fact reports."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.01)


def _told(facts: list[Any]) -> list[str]:
    return [f"{len(fact.messages)} of {fact.tp}" if isinstance(fact, Delivered) else repr(fact) for fact in facts]
