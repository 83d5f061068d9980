"""Watches a consumer until its burst is over: gathers the facts for ``burst_state``, which judges them, and logs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final, Self, TypeVar

from pyrallel_consumer.cli.run.burst_state import Burst, BurstState
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import RuntimeSnapshot, TopicPartition
from pyrallel_consumer.errors import BrokerError, StateError, UnknownTopicError
from pyrallel_consumer.ingress.admin.group_reader import GroupReader
from pyrallel_consumer.ingress.reading.subscription import Subscription, parse_topic
from pyrallel_consumer.log import Log

T = TypeVar("T")

logger = Log("pyrallel_consumer.run")

LOOK_SECONDS: Final = 0.1
ASK_SECONDS: Final = 1.0
"""Time between two questions to the broker about the commits of other members."""
TELL_SECONDS: Final = 10.0
UNKNOWN_FOR_SECONDS: Final = 1.0
"""A topic that was just created is unknown to some brokers for a moment."""


class BurstWatch:
    """One burst from the ends of the log, as they were when it began, to the verdict."""

    def __init__(self, config: KafkaConfig, burst: Burst) -> None:
        self._config = config
        self._burst = burst
        self._state = BurstState.DONE if burst.is_done else BurstState.RUNNING
        self._last_picture: RuntimeSnapshot | None = None

    @classmethod
    async def begun(cls, config: KafkaConfig, topic: str | list[str]) -> Self:
        """Read the ends of the logs and the group's commits. Raises a BrokerError."""
        burst = await _on_a_thread(lambda: _looked_at(config, topic))
        return cls(config, burst)

    @property
    def is_done(self) -> bool:
        return self._state is BurstState.DONE

    def verdict(self) -> str:
        """The outcome of the burst, as a clause."""
        burst = self._burst
        if self.is_done:
            return f"the burst is done: {burst.partitions} partitions are committed up to where their logs ended"
        left = ", ".join(map(str, sorted(burst.left)))
        if self._state is BurstState.STUCK:
            return f"the burst is stuck: messages that failed their last attempt have paused {left}"
        return f"the burst did not come to its end: {left} are left"

    async def until_over(self, consumer: PyrallelConsumer) -> None:
        """Returns when the burst is done or stuck."""
        asked_at = told_at = time.monotonic()
        while not self._is_over(consumer):
            await asyncio.sleep(LOOK_SECONDS)
            now, picture = time.monotonic(), self._last_picture
            if picture is None:
                continue
            if now >= told_at + TELL_SECONDS:
                self._tell(picture)
                await self._ask(tuple(self._burst.left))
                told_at = asked_at = time.monotonic()
            elif now >= asked_at + ASK_SECONDS:
                await self._ask(self._burst.elsewhere(picture.partitions))
                asked_at = time.monotonic()

    def _is_over(self, consumer: PyrallelConsumer) -> bool:
        try:
            self._last_picture = picture = consumer.get_runtime_snapshot()
        except StateError:  # it is about to be started
            return False
        self._state = self._burst.look(
            picture.partitions,
            progress=(picture.processed, picture.failed, picture.retries),
            is_retrying=picture.waiting_retries > 0,
            now=time.monotonic(),
        )
        return self._state is not BurstState.RUNNING

    async def _ask(self, tps: tuple[TopicPartition, ...]) -> None:
        """Ask the broker: another member may have done the remaining messages, or they may be gone from the log."""
        if not tps:
            return
        try:
            facts = await _on_a_thread(lambda: _asked(self._config, tps))
        except BrokerError as error:
            logger.warning("the burst goes on, though the broker does not say what is left: %s", error)
            return
        for tp, (start, end), offset in facts:
            self._burst.log_is(tp, start, end)
            self._burst.committed(tp, offset)

    def _tell(self, picture: RuntimeSnapshot) -> None:
        burst = self._burst
        here, others = burst.messages_left(picture.partitions), burst.elsewhere(picture.partitions)
        more = f"; waiting for other members of the group: {', '.join(map(str, others))}" if others else ""
        logger.info(
            "burst: %d of %d partitions are done, %d messages are left here%s",
            burst.partitions - len(burst.left),
            burst.partitions,
            here,
            more,
            extra={"partitions_left": len(burst.left), "messages_left": here},
        )


def _looked_at(config: KafkaConfig, topic: str | list[str]) -> Burst:
    subscription = parse_topic(topic, config.dlq_topic_suffix if config.dlq_enabled else None)
    with GroupReader(config, config.consumer_group) as reader:
        known = _known(reader, subscription, ",".join(config.bootstrap_servers))
        wanted = subscription.matching(known)
        tps = [TopicPartition(name, number) for name in wanted for number in range(known[name])]
        burst = Burst({tp: reader.ends(tp) for tp in tps})
        for tp in tuple(burst.left):
            burst.committed(tp, reader.noted(tp).offset or 0)
    return burst


def _known(reader: GroupReader, subscription: Subscription, servers: str) -> Mapping[str, int]:
    """All topics, as soon as the named ones exist; raises UnknownTopicError if one does not appear."""
    deadline = time.monotonic() + UNKNOWN_FOR_SECONDS
    while True:
        known = reader.topics()
        missing = next((name for name in subscription.names if name not in known), None)
        if missing is None:
            return known
        if time.monotonic() >= deadline:
            sentence = f"topic {missing!r} does not exist at {servers}: create it, or correct its name"
            raise UnknownTopicError(sentence, code="UNKNOWN_TOPIC_OR_PART")
        time.sleep(LOOK_SECONDS)


def _asked(config: KafkaConfig, tps: tuple[TopicPartition, ...]) -> list[tuple[TopicPartition, tuple[int, int], int]]:
    with GroupReader(config, config.consumer_group) as reader:
        return [(tp, reader.ends(tp), reader.noted(tp).offset or 0) for tp in tps]


async def _on_a_thread(call: Callable[[], T]) -> T:
    """Runs on a daemon thread: the loop's own executor would delay an abort."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from here on it cannot be cancelled

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 -- the thread's main: whoever awaits gets it
            future.set_exception(error)

    threading.Thread(target=run, name="pyrallel-burst", daemon=True).start()
    return await asyncio.wrap_future(future)
