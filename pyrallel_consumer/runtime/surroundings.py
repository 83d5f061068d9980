"""The outside world of a consumer: time, timers, and the threads that talk to Kafka.

``Surroundings`` is the real world. A kit for tests gives a consumer another one; the rest of the consumer is the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar, Protocol

from pyrallel_consumer.config import KafkaConfig, OutputConfig
from pyrallel_consumer.control_plane.failures.letter import Letter
from pyrallel_consumer.control_plane.output.unwritten import Outgoing
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.ingress.broker_poller import BrokerPoller, PollerPolicy
from pyrallel_consumer.ingress.client.client_settings import producer_configuration
from pyrallel_consumer.ingress.producing.dead_letter import DeadLetterProducer
from pyrallel_consumer.ingress.producing.output_topics import OutputTopics
from pyrallel_consumer.ingress.producing.transactions import Transactions
from pyrallel_consumer.ingress.reading.subscription import Subscription
from pyrallel_consumer.runtime.pump.ports import Ingress


class ClientThread(Protocol):
    """Something that holds a client of Kafka on a thread of its own."""

    @property
    def is_alive(self) -> bool: ...
    @property
    def ended(self) -> Future[None]: ...
    def start(self) -> Future[None]: ...
    def abandon(self) -> None: ...
    def get_metrics(self) -> dict[str, Any]: ...


class Poller(ClientThread, Ingress, Protocol):
    """The interface of a ``BrokerPoller``."""

    @property
    def group_protocol(self) -> str: ...
    def stop_fetching(self) -> None: ...
    def close(self, seconds: float) -> None: ...


class ProducerThread(ClientThread, Protocol):
    """The interface of a ``DeadLetterProducer``."""

    def produce(self, letters: Sequence[Letter | Outgoing]) -> None: ...


class Surroundings:
    """``clock`` counts seconds as ``time.monotonic`` does, and the timers of ``timers`` are due by it."""

    has_watchdog: ClassVar[bool] = True
    """Whether a thread looks after the event loop."""

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.monotonic

    def timers(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        """The control loop's event loop: it uses ``time``, ``call_soon`` and ``call_at``."""
        return loop

    def manager(self, policy: WorkPolicy) -> WorkManager:
        return WorkManager(policy)

    def engine(self, engine: ExecutionEngine) -> ExecutionEngine:
        """The engine that runs the worker, where ``engine`` was built for it."""
        return engine

    def poller(
        self,
        configuration: Mapping[str, Any],
        *,
        subscription: Subscription,
        deliver: Callable[[object], None],
        policy: PollerPolicy,
        **group: Any,
    ) -> Poller:
        """Called with the arguments of ``BrokerPoller``; ``group`` are those about the protocol and the membership."""
        return BrokerPoller(configuration, subscription=subscription, deliver=deliver, policy=policy, **group)

    def producer(
        self,
        configuration: Mapping[str, Any],
        *,
        deliver: Callable[[object], None],
        topics_of: Callable[[Iterable[str]], tuple[str, ...]] | None,
    ) -> ProducerThread:
        """Called with the arguments of ``DeadLetterProducer``."""
        return DeadLetterProducer(configuration, deliver, topics_of=topics_of)

    def output_checks(self, config: KafkaConfig, output: OutputConfig) -> list[Callable[[], Future[None]]]:
        """Each starts a check of the topics to which workers write; its future holds the problems."""
        if not output.topics:
            return []
        return [OutputTopics(producer_configuration(config, output), output.topics, self.clock).start]

    def transactions(
        self, configuration: Mapping[str, Any], group: str, deliver: Callable[[object], None]
    ) -> Transactions:
        """Called with the arguments of ``Transactions``, where records are written exactly once."""
        return Transactions(configuration, group, deliver)
