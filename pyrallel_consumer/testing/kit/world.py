"""The world of a consumer inside a kit: the kit's clock, Kafka in memory, and an observed work manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, cast

from pyrallel_consumer.config import KafkaConfig, OutputConfig
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted, WorkItem
from pyrallel_consumer.errors import PoisonKeyError
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.batches.engine import BatchEngine
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.engine import ExecutionEngine, Failed
from pyrallel_consumer.ingress.polling.poller_policy import PollerPolicy
from pyrallel_consumer.ingress.producing.transactions import Transactions
from pyrallel_consumer.ingress.reading.subscription import Subscription
from pyrallel_consumer.runtime.surroundings import Poller, ProducerThread, Surroundings
from pyrallel_consumer.testing.kit.clock import KitClock, KitTimers
from pyrallel_consumer.testing.kit.ledger import Ledger
from pyrallel_consumer.testing.kit.memory_kafka import MemoryKafka
from pyrallel_consumer.testing.kit.memory_poller import MemoryPoller
from pyrallel_consumer.testing.kit.memory_producer import MemoryProducer, MemoryTransactions
from pyrallel_consumer.testing.written_record import WrittenRecord


class KitWorld(Surroundings):
    """The surroundings of one life of a consumer; the log, the ledger and the clock outlive it."""

    has_watchdog = False

    def __init__(
        self,
        kafka: MemoryKafka,
        ledger: Ledger,
        clock: KitClock,
        *,
        after: Callable[[], None],
        letters: list[WrittenRecord],
        records: list[WrittenRecord],
    ) -> None:
        super().__init__()
        self.clock = clock.now
        self.kafka = kafka
        self.kit_poller: MemoryPoller | None = None
        self.kit_timers: KitTimers | None = None
        self._kit_clock = clock
        self._ledger = ledger
        self._after = after
        self._transactions: MemoryTransactions | None = None
        self._letters = letters
        self._records = records

    def timers(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        self.kit_timers = KitTimers(loop, self._kit_clock, self._after)
        return cast("asyncio.AbstractEventLoop", self.kit_timers)

    def manager(self, policy: WorkPolicy) -> WorkManager:
        return _TellingManager(policy, self._ledger)

    def engine(self, engine: ExecutionEngine) -> ExecutionEngine:
        if isinstance(engine, BookedEngine | BatchEngine):
            engine.attempt_log.heard = self._attempt_failed
        return engine

    def poller(
        self,
        configuration: Mapping[str, Any],
        *,
        subscription: Subscription,
        deliver: Callable[[object], None],
        policy: PollerPolicy,
        transactions: Transactions | None = None,
        **group: Any,
    ) -> Poller:
        del transactions, group
        if self.kit_timers is None:
            raise AssertionError("timers come first")
        self.kit_poller = MemoryPoller(
            configuration,
            kafka=self.kafka,
            timers=self.kit_timers,
            subscription=subscription,
            deliver=deliver,
            policy=policy,
            transactions=self._transactions,
        )
        return self.kit_poller

    def transactions(
        self, configuration: Mapping[str, Any], group: str, deliver: Callable[[object], None]
    ) -> Transactions:
        del configuration, group, deliver
        self._transactions = MemoryTransactions(letters=self._letters, records=self._records)
        return cast("Transactions", self._transactions)

    def output_checks(self, config: KafkaConfig, output: OutputConfig) -> list[Callable[[], Future[None]]]:
        del config, output
        return []  # There is no broker to ask.

    def producer(
        self,
        configuration: Mapping[str, Any],
        *,
        deliver: Callable[[object], None],
        topics_of: Callable[[Iterable[str]], tuple[str, ...]] | None,
    ) -> ProducerThread:
        del configuration, topics_of
        if self.kit_timers is None:
            raise AssertionError("timers come first")
        return MemoryProducer(self.kit_timers, deliver, letters=self._letters, records=self._records)

    def last_attempt_failed(self, failed: Failed) -> None:
        """Told before the manager is."""
        self._ledger.failed(failed.item, failed.error, is_charged=True)

    def _attempt_failed(self, root: WorkItem, retry: RetryAt) -> None:
        if retry.error is not None:
            self._ledger.failed(root, retry.error, is_charged=retry.is_charged)


class _TellingManager(WorkManager):
    """The real work manager, which notes each start and end in the ledger."""

    def __init__(self, policy: WorkPolicy, ledger: Ledger) -> None:
        super().__init__(policy)
        self._ledger = ledger
        written = self.outbox.written

        def written_and_told(item: WorkItem) -> None:
            if self.is_current(item):
                ledger.ended(item, is_processed=True)
            written(item)

        self.outbox.written = written_and_told  # type: ignore[method-assign]  # the real outbox, with an ear

    def take(self, most: int, slots: int | None = None, now: float | None = None) -> list[WorkItem]:
        items = super().take(most, slots, now)
        self._ledger.started(items)
        return items

    def take_condemned(self) -> list[WorkItem]:
        condemned = super().take_condemned()
        for item in condemned:
            self._ledger.given_up_untried(item, PoisonKeyError("several messages of its key in a row failed"))
        return condemned

    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None:
        for item in filter(self.is_current, items):
            self._ledger.ended(item, is_processed=True)
        super().succeed(items, now)

    def exhaust(self, item: WorkItem, now: float | None = None, *, is_hopeless: bool = False) -> OnExhausted | None:
        outcome = super().exhaust(item, now, is_hopeless=is_hopeless)
        if outcome is not None:
            self._ledger.ended(item, is_processed=False)
        return outcome
