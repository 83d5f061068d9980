"""The demo's topic, on a broker of its own or on a given one, and the settings to consume it.

Topic and group have a unique name, and are removed at the end if the broker is not the demo's own.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pyrallel_consumer.cli.demo.plan import DemoPlan
from pyrallel_consumer.config import ExecutionConfig, KafkaConfig
from pyrallel_consumer.dto import DlqPayloadMode, ExecutionMode, OnExhausted
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.admin.scratch_topic import ScratchTopic
from pyrallel_consumer.testing.broker.embedded_broker import PLAIN_PARTITIONS, EmbeddedBroker

IN_FLIGHT_PER_MS = 60
"""One core can run this many orders at once; more only make each order, and the customer's next one, wait longer."""
FEWEST_IN_FLIGHT = 100
MOST_IN_FLIGHT = 2000
GRACE_MS = 500
"""How much longer than a worker takes a revoke waits: on a busy machine a few milliseconds become many."""
ATTEMPTS = 3
RETRY_MS = 20
"""Failed orders are tried again soon: no service is down in the demo, and the customer's next orders wait."""


def kafka_config(plan: DemoPlan, bootstrap_servers: str, group: str) -> KafkaConfig:
    """The connection of the demo's consumers to the broker, and other settings of the environment."""
    config = KafkaConfig(bootstrap_servers=bootstrap_servers, consumer_group=group, auto_offset_reset="earliest")
    if plan.bootstrap_servers is None:
        # Members join and leave the embedded broker's groups in an instant this way; and it asks for no password.
        config.librdkafka, config.group_protocol = {}, "consumer"
        config.security_protocol = None
    if plan.fail_rate:
        config.dlq_enabled = True
        config.dlq_payload_mode = DlqPayloadMode.FULL
    return config


def execution_config(plan: DemoPlan) -> ExecutionConfig:
    """How workers run; a stop and a rebalance wait for running workers, however long they take."""
    config = ExecutionConfig(
        mode=ExecutionMode.ASYNC,
        max_in_flight=min(MOST_IN_FLIGHT, max(FEWEST_IN_FLIGHT, round(plan.worker_ms * IN_FLIGHT_PER_MS))),
        max_revoke_grace_ms=round(plan.worker_ms) + GRACE_MS,
        shutdown_drain_timeout_ms=round(plan.worker_ms) + 10 * GRACE_MS,
    )
    if plan.fail_rate:
        config.on_exhausted = OnExhausted.DLQ
        config.max_attempts, config.retry_backoff_ms, config.retry_jitter_ms = ATTEMPTS, RETRY_MS, RETRY_MS
        config.circuit_failure_share, config.poison_key_failures = 0.0, 0
    return config


@asynccontextmanager
async def scratch_topic(plan: DemoPlan, tell: Callable[[str], None]) -> AsyncIterator[tuple[ScratchTopic, KafkaConfig]]:
    """A topic for this run and the settings of the group that reads it. Raises a BrokerError if that is impossible."""
    name = f"pyrallel-demo-{uuid.uuid4().hex[:8]}"
    if plan.bootstrap_servers is None:
        async with EmbeddedBroker() as broker:
            partitions = PLAIN_PARTITIONS if broker.is_plain else plan.partitions
            await asyncio.to_thread(broker.create_topic, name, partitions)
            if plan.fail_rate:
                suffix = KafkaConfig().dlq_topic_suffix
                await asyncio.to_thread(broker.create_topic, f"{name}{suffix}", partitions)
            tell(f"a broker of the demo's own runs at {broker.bootstrap_servers}")
            config = kafka_config(plan, broker.bootstrap_servers, name)
            yield ScratchTopic(config, name, partitions), config
        return
    config = kafka_config(plan, plan.bootstrap_servers, name)
    topic = ScratchTopic(config, name, plan.partitions)
    topics = [topic]
    if plan.fail_rate:
        topics.append(ScratchTopic(config, f"{name}{config.dlq_topic_suffix}", plan.partitions))
    for each in topics:
        await asyncio.to_thread(each.create)
    tell(f"topic and group {name} are made at {plan.bootstrap_servers}")
    try:
        yield topic, config
    finally:
        try:
            for each in topics:
                await asyncio.to_thread(each.remove)
        except BrokerError as error:
            tell(f"topic and group {name} could not be removed: {error}")
