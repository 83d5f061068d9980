"""The track: the topics that contenders run on, and their groups; created for a run, and removed after it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Final

from benchmark_broker import BenchmarkBroker
from confluent_kafka import KafkaException
from consumer_setup import uncommitted
from job import Job
from produce import fill

from race.cases import Case
from race.lap_plan import INTENDED_DIGITS, PLAIN, SLOW, WARM_UP

PREFIX: Final = "pyrallel-benchmark"
WARM_UP_MESSAGES: Final = 200


class Track:
    """``is_reset``: topics and groups are deleted and created again; otherwise they are left alone."""

    def __init__(self, broker: BenchmarkBroker, *, is_reset: bool, say: Callable[[str], None]) -> None:
        self.broker = broker
        self.is_reset = is_reset
        self._say = say
        self._run = uuid.uuid4().hex[:8]
        self._filled: dict[str, str] = {}
        self._used: list[str] = []

    def topic(self, case: Case) -> str:
        """The topic of a case: one for all, filled before the first lap; of a paced case a new one every time."""
        if case.pace is not None:
            topic = self._made(f"{case.name}-{uuid.uuid4().hex[:6]}", case.partitions)
            # Assigned and warm before the first one counts: what comes at a pace begins with these.
            self._fill(topic, case, [WARM_UP] * WARM_UP_MESSAGES, [number % 100 for number in range(WARM_UP_MESSAGES)])
            return topic
        if case.name not in self._filled:
            traffic = case.traffic
            self._say(f"{case.name}: producing {traffic.messages:,} messages of {case.value_bytes:,} bytes ...")
            topic = self._filled[case.name] = self._made(case.name, case.partitions)
            flags = [SLOW if is_slow else PLAIN for is_slow in traffic.is_slow()]
            self._fill(topic, case, flags, traffic.key_numbers())
        return self._filled[case.name]

    def group(self, case: Case, contender: str) -> str:
        """A group with a unique name."""
        return f"{PREFIX}-{self._run}-{case.name}-{contender}-{uuid.uuid4().hex[:6]}"

    def uncommitted(self, topic: str, group: str) -> int:
        """Messages of the topic that the group has not committed."""
        return uncommitted(Job("", bootstrap_servers=self.broker.bootstrap_servers, topic=topic, group=group))

    def forget_group(self, group: str) -> None:
        """Delete a group that has ended its lap, where the broker can."""
        if self.is_reset:
            self.broker.forget_group(group)

    def forget_topic(self, topic: str) -> None:
        """Delete a topic that no lap needs any more."""
        if self.is_reset and topic in self._used:
            self._used.remove(topic)
            self._filled = {name: there for name, there in self._filled.items() if there != topic}
            try:
                self.broker.forget(topic)
            except (RuntimeError, KafkaException) as error:
                self._say(f"{topic} could not be deleted: {error}")

    def close(self) -> None:
        for topic in list(self._used):
            self.forget_topic(topic)

    def _made(self, name: str, partitions: int) -> str:
        topic = f"{PREFIX}-{name}"
        if self.is_reset:
            self.broker.reset(topic, partitions)
            self._used.append(topic)
        return topic

    def _fill(self, topic: str, case: Case, flags: Sequence[bytes], keys: Sequence[int]) -> None:
        unpaced = b"0" * INTENDED_DIGITS
        fill(
            self.broker.bootstrap_servers,
            topic,
            messages=len(keys),
            keys=case.traffic.keys,
            value_bytes=case.value_bytes,
            key_numbers=keys,
            head_of=lambda number: unpaced + flags[number],
        )
