"""``ConsumerKit``: the real consumer on a Kafka in memory, for tests of workers: no broker and no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import ExecutionMode, TopicPartition, WorkItem
from pyrallel_consumer.errors import PyrallelConsumerError, StateError, WorkerMismatchError
from pyrallel_consumer.execution_plane.worker.kind import Worker, check_worker
from pyrallel_consumer.ingress.client.client_settings import consumer_configuration
from pyrallel_consumer.ingress.polling.poller_policy import reset_of
from pyrallel_consumer.ingress.reading.subscription import Subscription, parse_topic
from pyrallel_consumer.runtime.life.cut_off import Noted
from pyrallel_consumer.testing.kit.clock import KitClock
from pyrallel_consumer.testing.kit.committed import CommittedOffsets
from pyrallel_consumer.testing.kit.ledger import Ledger, Outcome
from pyrallel_consumer.testing.kit.life import KitConsumer, Life
from pyrallel_consumer.testing.kit.memory_kafka import MemoryKafka
from pyrallel_consumer.testing.kit.mover import Mover
from pyrallel_consumer.testing.kit.world import KitWorld
from pyrallel_consumer.testing.written_record import WrittenRecord

SETTLE_SECONDS: Final = 10.0
"""How long, in real time, a test waits for running attempts."""

COMMAND_SECONDS: Final = 0.2
"""A pause reaches the reader within this time: the control loop sends commands at its ticks."""

_T = TypeVar("_T")


class ConsumerKit:
    """``async with ConsumerKit(worker, topic="orders") as kit:``; without asyncio ``with ...``, and ``kit.run``.

    All arguments but ``partitions`` (of each topic) are arguments of ``PyrallelConsumer``. ``config`` and
    ``execution_config`` default to what the environment says; without an ``execution_config`` the mode is the one that
    fits the worker: ``async`` or ``thread``. A topic's messages outlive ``crash`` and ``rebalance``.
    """

    def __init__(
        self,
        worker: Worker | None,
        topic: str | Iterable[str] = "orders",
        *,
        config: KafkaConfig | None = None,
        execution_config: ExecutionConfig | None = None,
        partitions: int = 1,
        **options: Any,
    ) -> None:
        if partitions < 1:
            raise ValueError(f"partitions={partitions}: a topic has at least 1")
        if config is None:
            config = KafkaConfig(consumer_group="kit")
            config.metrics.enabled = False
        self._topics = topic if isinstance(topic, str) else tuple(topic)
        self._config = config
        self._execution_config = _fitting(worker) if execution_config is None else execution_config
        self._worker = worker
        self._options = options
        self._subscription: Subscription = parse_topic(
            self._topics, config.dlq_topic_suffix if config.dlq_enabled else None
        )
        self._kafka = MemoryKafka(self._subscription.names, partitions)
        self._clock = KitClock()
        self._made_at = self._clock.now()
        self._ledger = Ledger(self._clock.now)
        self._dead_letters: list[WrittenRecord] = []
        self._records_out: list[WrittenRecord] = []
        self._mover: Mover | None = None
        self._life: Life | None = None
        self._runner: asyncio.Runner | None = None
        self._told: BaseException | None = None

    # What happens

    async def send(
        self,
        value: bytes | None,
        key: bytes | None = None,
        *,
        headers: Iterable[tuple[str | bytes, bytes | None]] | None = None,
        topic: str | None = None,
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Write a message to the topic; ``topic`` is needed where the consumer reads several.

        The key decides the partition. ``timestamp``: milliseconds since 1970 UTC, default now.
        """
        place = self._topic_of(topic)
        self._kafka.create(place)
        self._kafka.append(place, value, key, headers=headers, partition=partition, timestamp=timestamp)
        if self._mover is not None:
            self._mover.disturb()

    async def settled(self, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Return when all that was sent has ended and is committed, or can go no further, as in a paused partition.

        Raises the error that ended the consumer, and AssertionError with the ledger where an attempt still runs, or
        retries come without an end, after ``timeout_seconds`` of real time.
        """
        life, mover = self._running()
        mover.disturb()
        mover.after_turn()
        waits = [asyncio.ensure_future(mover.settled.wait()), asyncio.ensure_future(life.consumer.wait_closed())]
        try:
            done, _ = await asyncio.wait(waits, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if life.consumer.error is not None:
            with suppress(PyrallelConsumerError):
                await life.consumer.wait_closed()
            self._told = life.consumer.error
            raise life.consumer.error
        if not done:
            raise AssertionError(f"after {timeout_seconds:g} s not all is settled{self._why_not(life)}:\n{self.ledger}")

    async def advance(self, seconds: float) -> None:
        """Move the clock by hand, for example to a running attempt's timeout; all due timers fire at their times."""
        _, mover = self._running()
        await mover.advance(seconds)

    async def crash(self) -> list[WorkItem]:
        """End the consumer as by kill -9, and start another one. Returns the started messages that run again.

        Nothing more is committed and no dead letter written. Unlike a process that is killed, workers that run are
        cancelled, and their ``finally`` blocks run.
        """
        life, _ = self._running()
        life.poller.die()
        with suppress(PyrallelConsumerError):
            await life.consumer.abort()
        again = self._running_again(self._kafka.places)
        await self._begin_life()
        return again

    async def rebalance(
        self, *, partition: int | None = None, topic: str | None = None, lost: bool = False
    ) -> list[WorkItem]:
        """Give all partitions to another member, or ``partition`` alone, and take them back.

        Returns the started messages that run again. Running ones have a grace (``max_revoke_grace_ms``); with ``lost``
        they have none, and nothing is committed.
        """
        life, mover = self._running()
        tps = self._kafka.places if partition is None else [TopicPartition(self._topic_of(topic), partition)]
        back = asyncio.Event()
        again: list[WorkItem] = []

        def note() -> None:
            again.extend(self._running_again(tps))
            back.set()

        life.poller.give_and_take(tps, is_lost=lost, then=note)
        mover.disturb()
        await back.wait()
        return again

    async def pause(self, partition: int | None = None, topic: str | None = None) -> None:
        """Read no more of one partition, or of all; messages that were read go on."""
        life, mover = self._running()
        for tp in self._kafka.places if partition is None else [TopicPartition(self._topic_of(topic), partition)]:
            life.consumer.pause_partition(tp)
        await mover.advance(COMMAND_SECONDS)

    async def resume(self, partition: int | None = None, topic: str | None = None) -> None:
        """End a ``pause``, or the pause after a message that failed its last attempt; that message is tried again."""
        life, mover = self._running()
        for tp in self._kafka.places if partition is None else [TopicPartition(self._topic_of(topic), partition)]:
            life.consumer.resume_partition(tp)
        mover.disturb()

    # Reading the outcome

    @property
    def consumer(self) -> PyrallelConsumer:
        """The consumer of this kit; another one after ``crash``."""
        return self._running()[0].consumer

    @property
    def elapsed_seconds(self) -> float:
        """Time since the kit was made, by its clock: the real time, plus all the waiting that was skipped."""
        return self._clock.now() - self._made_at

    @property
    def outcomes(self) -> list[Outcome]:
        """One for each message that ended, in the order of ending."""
        return self._ledger.outcomes

    @property
    def dead_letters(self) -> list[WrittenRecord]:
        """The records that were written to dead-letter topics."""
        return list(self._dead_letters)

    @property
    def records_out(self) -> list[WrittenRecord]:
        """The records that the worker returned, as they were written, in the order of writing."""
        return list(self._records_out)

    @property
    def committed(self) -> CommittedOffsets:
        """The group's offsets by topic and partition; by the number of the partition alone where there is one topic."""
        return CommittedOffsets({tp: each.offset for tp, each in self._kafka.committed.items()})

    @property
    def ledger(self) -> str:
        """A table of all messages: attempts, and what became of each."""
        engine = None if self._life is None else self._life.consumer.wiring.engine
        noted = Noted(lambda _: True)
        if engine is not None:
            engine.running(noted)
        waiting = () if engine is None else engine.waiting()
        offsets = ", ".join(f"{tp} {offset}" for tp, offset in self.committed.items())
        return f"{self._ledger.table(self._kafka.messages, noted.items, waiting)}\n  committed: {offsets or 'nothing'}"

    def assert_processed(self, *values: bytes | None) -> None:
        """Fail with the ledger unless all messages of these values, by default all that were sent, are processed."""
        __tracebackhide__ = True
        wanted = [message for message in self._kafka.messages if not values or message.value() in values]
        outcomes = [self._ledger.outcome_of(message) for message in wanted]
        missing = [value for value in values if value not in [message.value() for message in wanted]]
        if missing:
            raise AssertionError(f"no message of value {missing[0]!r} was sent:\n{self.ledger}")
        undone = sum(outcome is None or not outcome.is_processed for outcome in outcomes)
        if undone or not wanted:
            said = f"{undone} of {len(wanted)} messages are not processed" if wanted else "no message was sent"
            raise AssertionError(f"{said}:\n{self.ledger}")

    # Life

    async def __aenter__(self) -> Self:
        self._mover = Mover(asyncio.get_running_loop(), self._clock)
        await self._begin_life()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        life, mover = self._running()
        mover.disturb()
        mover.after_turn()
        try:
            await life.consumer.stop()
        except Exception as fatal:
            if error is None and fatal is not self._told:
                raise
        finally:
            life.timers.close()
            mover.life = None

    def __enter__(self) -> Self:
        self._open_runner()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self.__aexit__(kind, error, trace))

    def close(self) -> None:
        """Stop a consumer that ``run`` has started."""
        self.__exit__(None, None, None)

    def run(self, *steps: Coroutine[Any, Any, _T]) -> list[_T]:
        """For tests without asyncio: take these steps one after the other, then wait until all is ``settled``.

        ``kit.run(kit.send(b"1"), kit.send(b"2"))``. Returns what the steps returned. Begins by starting the consumer
        where nothing has; ``with``, the fixture or ``close`` stops it.
        """
        return self._open_runner().run(self._take(steps))

    async def _take(self, steps: Iterable[Awaitable[_T]]) -> list[_T]:
        taken = [await step for step in steps]
        await self.settled()
        return taken

    def _open_runner(self) -> asyncio.Runner:
        if self._runner is None:
            if self._life is not None:
                raise StateError("this kit runs on an event loop already: await its methods there")
            self._runner = asyncio.Runner()
            try:
                self._runner.run(self.__aenter__())
            except BaseException:
                self._runner.close()
                self._runner = None
                raise
        return self._runner

    async def _begin_life(self) -> None:
        mover = self._mover
        if mover is None:
            raise AssertionError("the kit is not open")
        world = KitWorld(
            self._kafka,
            self._ledger,
            self._clock,
            after=mover.after_turn,
            letters=self._dead_letters,
            records=self._records_out,
        )
        consumer = KitConsumer(
            world,
            self._config,
            self._worker,
            self._topics,
            execution_config=self._execution_config,
            **self._options,
        )
        mover.disturb()
        mover.life = None
        await consumer.start()
        self._life = mover.life = life = Life(consumer, world)
        mover.after_turn()
        await life.poller.has_looked.wait()

    # Inside

    def _running(self) -> tuple[Life, Mover]:
        if self._life is None or self._mover is None:
            raise StateError("this kit is not open: use it as `async with ConsumerKit(...) as kit:`")
        return self._life, self._mover

    def _topic_of(self, topic: str | None) -> str:
        names = self._subscription.names
        if topic is None:
            if len(names) != 1:
                raise StateError(f"the consumer reads {self._subscription}: say which topic is meant, topic=...")
            return names[0]
        if topic not in self._subscription.matching([topic]):
            raise StateError(f"topic={topic!r} is not read by this consumer, which reads {self._subscription}")
        return topic

    def _running_again(self, tps: Iterable[TopicPartition]) -> list[WorkItem]:
        """Started messages that are done neither by the group's offsets nor by the maps in its commits."""
        reset = reset_of(consumer_configuration(self._config))
        starts = {tp: self._kafka.start_of(tp, reset) for tp in tps}
        return [
            item
            for item in self._ledger.begun()
            if (start := starts.get(item.tp)) is not None
            and item.offset >= start.offset
            and (item.offset >= start.restored.top or item.offset in start.restored.unfinished)
        ]

    def _why_not(self, life: Life) -> str:
        if life.is_running_attempts:
            return ": an attempt runs (a running attempt has real time; `advance` moves the clock for its timeout)"
        if life.consumer.wiring.manager.circuit.is_open:
            return ": the circuit is open, and its probes fail (`advance` moves the clock by hand)"
        return ""


def _fitting(worker: Worker | None) -> ExecutionConfig:
    """The environment's settings, and the mode that runs this worker in this process."""
    execution = ExecutionConfig()
    if worker is None:
        return execution
    try:
        check_worker(worker, ExecutionMode.ASYNC)
    except WorkerMismatchError:
        execution.mode = ExecutionMode.THREAD
    else:
        execution.mode = ExecutionMode.ASYNC
    return execution
