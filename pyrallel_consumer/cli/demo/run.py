"""The demo's run, from an empty topic to the verdict.

A part of the orders is in the topic when the first consumer starts. More come while the second one is in the group, and
the rest after it has left. So each consumer has work, even if the group moves partitions slowly: every step waits for
its condition, and none for a time. The verdict uses the ledger and an independent client.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import islice

from pyrallel_consumer.cli.command import EXIT_FAILED, EXIT_SIGNALLED
from pyrallel_consumer.cli.demo.broker import execution_config, scratch_topic
from pyrallel_consumer.cli.demo.display import Display
from pyrallel_consumer.cli.demo.failures import Failures, accounted, fail, fate_of
from pyrallel_consumer.cli.demo.ledger import Ledger
from pyrallel_consumer.cli.demo.letters import lettered_orders
from pyrallel_consumer.cli.demo.orders import Order, shop_orders
from pyrallel_consumer.cli.demo.picture import PartitionRow, Picture, RateMeter, partition_rows
from pyrallel_consumer.cli.demo.plan import DemoPlan
from pyrallel_consumer.cli.demo.verdict import Stopped, Verdict, Visit
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.ingress.admin.scratch_topic import LogBounds, ScratchTopic
from pyrallel_consumer.runtime.life.stop_signals import StopSignals

FIRST_LOT = 0.65
"""Share of the orders that is in the topic from the beginning."""
SECOND_LOT = 0.20
"""Share that comes when the second consumer holds partitions; the rest comes after it has left."""
JOIN_AT = 0.30
"""Share of the orders after which the second consumer joins; less than the first lot."""
VISIT_SHARE = 0.20
"""Share of the orders that the second consumer processes before it leaves, if it finds as many."""
STALL_SECONDS = 60.0
"""The run is given up when no order was processed for this long."""
LOOK_SECONDS = 0.05
TELL_SECONDS = 2.0
"""How often the demo tells how many orders it has written, while nothing else can be seen."""


class _EndedError(Exception):
    """The run cannot go on, or must not."""

    def __init__(self, because: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(because)
        self.stopped = Stopped(because, exit_code)


class DemoRun:
    """One run; ``run`` may be called once."""

    def __init__(self, plan: DemoPlan, display: Display, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._display = display
        self._clock = clock
        self._ledger = Ledger(plan.messages, clock)
        self._meter = RateMeter()
        self._consumers: dict[str, PyrallelConsumer] = {}
        self._produced = 0
        self._end_offsets: dict[int, int] = {}
        self._rows: tuple[PartitionRow, ...] = ()
        self._signal: signal.Signals | None = None
        self._aborts: list[asyncio.Task[None]] = []

    async def run(self) -> Verdict:
        """Raises a PyrallelConsumerError if the broker or a consumer fails."""
        if self._plan.fail_rate:
            # These failures are planned, and the verdict accounts for them.
            for name in ("pyrallel_consumer.exhausted", "pyrallel_consumer.execution_plane"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        with StopSignals(self._on_signal):
            async with scratch_topic(self._plan, self._display.tell) as (topic, config):
                visit, stopped = None, None
                try:
                    visit = await self._consume(topic, config)
                except _EndedError as ended:
                    stopped = ended.stopped
                return await self._judge(topic, config, visit, stopped)

    # The code that a user of the library writes

    def _consumer(self, name: str, config: KafkaConfig, topic: str) -> PyrallelConsumer:
        ledger, worker_seconds = self._ledger, self._plan.worker_ms / 1000
        seed, fail_rate = self._plan.seed, self._plan.fail_rate

        async def process_order(item: WorkItem) -> None:
            order = Order.from_json(item.payload)
            with ledger.run(name, order.customer, order.nth):
                await asyncio.sleep(worker_seconds)
                if fail_rate:
                    fail(order.number, fate_of(order.number, seed, fail_rate), item.attempt)

        return PyrallelConsumer(
            config=config, execution_config=execution_config(self._plan), worker=process_order, topic=topic
        )

    @asynccontextmanager
    async def _member(self, name: str, config: KafkaConfig, topic: str) -> AsyncIterator[None]:
        """A consumer that joins the group at the beginning of the block and has drained and left it at the end."""
        consumer = self._consumer(name, config, topic)
        try:
            async with consumer:
                self._consumers[name] = consumer
                yield
        finally:
            self._consumers.pop(name, None)

    # The steps

    async def _consume(self, topic: ScratchTopic, config: KafkaConfig) -> Visit | None:
        plan, ledger, tell = self._plan, self._ledger, self._display.tell
        orders = shop_orders(plan.messages, plan.keys, plan.seed)
        tell(f"{plan.messages:,} orders of {plan.keys:,} customers go into {topic.partitions} partitions")
        await self._append(topic, islice(orders, round(plan.messages * FIRST_LOT)))
        await self._refuse_dropped(topic)
        second_lot = list(islice(orders, round(plan.messages * SECOND_LOT)))
        last_lot = list(orders)
        sequential = timedelta(seconds=round(plan.messages * plan.worker_ms / 1000))
        tell(f"{self._produced:,} are there; one at a time, {plan.worker_ms:g} ms each, all would take {sequential}")
        tell("the first consumer starts")
        async with self._member("first", config, topic.name):
            await self._until(lambda: ledger.ended >= min(plan.messages * JOIN_AT, self._produced))
            visit = None
            if topic.partitions > 1:
                visit = await self._visit(topic, config, second_lot)
            else:
                await self._append(topic, second_lot)
            await self._append(topic, last_lot)
            await self._until(
                lambda: ledger.is_complete and self._holds("first") == topic.partitions and self._has_all_letters()
            )
            tell("everything is processed; the first consumer stops")
        return visit

    async def _visit(self, topic: ScratchTopic, config: KafkaConfig, orders: Sequence[Order]) -> Visit:
        """A second consumer joins, takes partitions, works, and leaves while the first goes on."""
        ledger, tell = self._ledger, self._display.tell
        enough = self._plan.messages * VISIT_SHARE
        tell("a second consumer joins the group")
        began_at = self._clock()
        async with self._member("second", config, topic.name):
            await self._until(lambda: self._holds("second") > 0)
            tell(f"it has partitions after {self._clock() - began_at:.1f} s; more orders come in")
            await self._append(topic, orders)
            await self._until(lambda: ledger.processed_by["second"] >= enough or ledger.ended >= self._produced)
            partitions = self._holds("second")
            tell(f"the second consumer stops: it drains, commits, and leaves {partitions} partitions")
        visit = Visit(partitions, ledger.processed_by["second"])
        tell(f"it processed {visit.processed:,} orders and is gone; the last orders come in")
        return visit

    async def _judge(
        self, topic: ScratchTopic, config: KafkaConfig, visit: Visit | None, stopped: Stopped | None
    ) -> Verdict:
        ledger = self._ledger
        bounds = await asyncio.to_thread(topic.bounds)
        self._rows = tuple(
            PartitionRow(partition, None, at.end_offset, at.committed_offset or 0, at.committed_offset or 0)
            for partition, at in sorted(bounds.items())
        )
        verdict = Verdict(
            expected=self._plan.messages,
            processed=ledger.processed,
            failed=ledger.failed,
            order_violations=ledger.order_violations,
            duplicates=ledger.duplicates,
            lag=sum(at.lag for at in bounds.values()),
            seconds=ledger.seconds,
            worker_seconds=self._plan.worker_ms / 1000,
            visit=visit,
            stopped=stopped,
            failures=await self._failures(topic, config),
        )
        self._display.show(self._picture(verdict.messages_per_second))
        return verdict

    async def _failures(self, topic: ScratchTopic, config: KafkaConfig) -> Failures | None:
        """The failed orders, and their letters in the dead-letter topic, read with a separate client."""
        plan = self._plan
        if not plan.fail_rate:
            return None
        letters = await asyncio.to_thread(lettered_orders, config, f"{topic.name}{config.dlq_topic_suffix}")
        return accounted(plan.messages, plan.seed, plan.fail_rate, letters=letters, retried=self._ledger.retried)

    # The topic

    async def _append(self, topic: ScratchTopic, orders: Iterable[Order]) -> None:
        made = 0

        def made_records() -> Iterator[tuple[bytes, bytes]]:
            nonlocal made
            for made, order in enumerate(orders, 1):  # noqa: B007 -- counted for those who wait
                yield order.key, order.to_json()

        records = made_records()

        def append() -> tuple[int, dict[int, LogBounds]]:
            return topic.append(records, is_wanted=lambda: self._signal is None), topic.bounds()

        appending = asyncio.ensure_future(asyncio.to_thread(append))
        try:
            told_at = self._clock()
            while not appending.done() and not self._consumers and self._signal is None:
                if self._clock() >= told_at + TELL_SECONDS:
                    told_at = self._clock()
                    self._display.tell(f"{made:,} orders are on their way into the topic")
                await asyncio.sleep(LOOK_SECONDS)
            await self._until(appending.done, stall_seconds=math.inf)
        finally:
            count, bounds = await appending
            self._produced += count
            self._end_offsets = {partition: at.end_offset for partition, at in bounds.items()}

    async def _refuse_dropped(self, topic: ScratchTopic) -> None:
        bounds = await asyncio.to_thread(topic.bounds)
        dropped = sum(at.begin_offset for at in bounds.values())
        if dropped:
            raise _EndedError(
                f"the embedded broker keeps about 5 MB of a partition and dropped {dropped:,} orders before they were "
                "read; choose fewer --messages or more --partitions, or --bootstrap-servers of a real Kafka"
            )

    # Waiting and looking

    async def _until(self, is_met: Callable[[], bool], stall_seconds: float = STALL_SECONDS) -> None:
        """Wait and show; raises the reason for the run's end: a signal, a consumer's fatal error, or no progress."""
        runs, since = self._ledger.runs, self._clock()
        while not is_met():
            self._raise_if_signalled()
            for consumer in self._consumers.values():
                if consumer.get_runtime_snapshot().state in {"stopping", "closed"}:
                    await consumer.wait_closed()
            now = self._clock()
            if self._ledger.runs != runs:
                runs, since = self._ledger.runs, now
            elif now - since > stall_seconds:
                raise _EndedError(f"nothing was processed for {stall_seconds:g} s")
            if self._consumers:
                self._display.show(self._picture(self._meter.look(now, self._ledger.processed)))
            await asyncio.sleep(LOOK_SECONDS)

    def _holds(self, name: str) -> int:
        """How many partitions this consumer has now."""
        return len(self._consumers[name].get_runtime_snapshot().partitions)

    def _has_all_letters(self) -> bool:
        """Whether no order is left to retry or dead-letter: if orders fail, that is when all is committed."""
        if not self._plan.fail_rate:
            return True
        rows = partition_rows(
            self._end_offsets, {name: each.get_runtime_snapshot() for name, each in self._consumers.items()}, self._rows
        )
        return sum(row.lag for row in rows) == 0

    def _picture(self, rate: float) -> Picture:
        ledger = self._ledger
        snapshots = {name: consumer.get_runtime_snapshot() for name, consumer in self._consumers.items()}
        if snapshots:
            self._rows = partition_rows(self._end_offsets, snapshots, self._rows)
        return Picture(
            expected=self._plan.messages,
            processed=ledger.processed,
            rate=rate,
            rates=self._meter.history,
            sequential_bound=1000 / self._plan.worker_ms,
            in_flight=ledger.running,
            most_in_flight=ledger.most_running,
            order_violations=ledger.order_violations,
            duplicates=ledger.duplicates,
            rows=self._rows,
        )

    # Signals: the first drains, the second aborts

    def _on_signal(self, number: signal.Signals) -> None:
        if self._signal is None:
            self._signal = number
            self._display.tell(f"{number.name}: running work is drained; a second one aborts it")
        else:
            self._aborts += [asyncio.ensure_future(consumer.abort()) for consumer in self._consumers.values()]

    def _raise_if_signalled(self) -> None:
        if self._signal is not None:
            raise _EndedError(f"stopped by {self._signal.name}", EXIT_SIGNALLED + self._signal)
