"""Which protocol a group speaks now, and whether the broker lets it change; asked once, without joining the group.

A user without the permission gets no answer, and no error.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.ingress.client.client_events import ClientLog
from pyrallel_consumer.ingress.client.client_settings import admin_configuration
from pyrallel_consumer.ingress.reading.group_protocol import Protocol

TIMEOUT_SECONDS: Final = 5.0
MIGRATION_POLICY: Final = "group.consumer.migration.policy"
_PROTOCOLS: Final[dict[object, Protocol]] = {
    ConsumerGroupType.CLASSIC: "classic",
    ConsumerGroupType.CONSUMER: "consumer",
}
_WITHOUT_MEMBERS: Final = frozenset({ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD, ConsumerGroupState.UNKNOWN})


class GroupOutlook(NamedTuple):
    """``spoken``: the protocol of the members, None without members. ``policy`` of the broker, None if unknown."""

    spoken: Protocol | None
    policy: str | None


def group_outlook(config: KafkaConfig) -> GroupOutlook:
    """Ask the cluster, within a few seconds."""
    admin = AdminClient({"logger": ClientLog(time.monotonic)} | admin_configuration(config))
    return GroupOutlook(_spoken(admin, config.consumer_group), _policy(admin))


def _spoken(admin: AdminClient, group: str) -> Protocol | None:
    try:
        described = admin.describe_consumer_groups([group], request_timeout=TIMEOUT_SECONDS)[group].result()
    except (KafkaException, ValueError):
        return None
    return None if described.state in _WITHOUT_MEMBERS else _PROTOCOLS.get(described.type)


def _policy(admin: AdminClient) -> str | None:
    try:
        broker = next(iter(admin.list_topics(timeout=TIMEOUT_SECONDS).brokers))
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        found = admin.describe_configs([resource], request_timeout=TIMEOUT_SECONDS)[resource].result()
    except (KafkaException, StopIteration, ValueError):
        return None
    return found[MIGRATION_POLICY].value if MIGRATION_POLICY in found else None
