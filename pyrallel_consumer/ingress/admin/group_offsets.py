"""Moves the committed offsets of a stopped group; checks first that it has stopped.

The client never joins the group. It commits as nobody's member, which the broker allows for an empty group alone: so
a member that came after the look is no victim either. All calls block, for a bounded time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.admin.group_reader import TIMEOUT_SECONDS, GroupReader, translating
from pyrallel_consumer.ingress.client.client_events import ClientLog
from pyrallel_consumer.ingress.client.client_settings import admin_configuration

MOST_MEMBERS_NAMED: Final = 5
_NOT_TOLD: Final = frozenset({"UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE", "GROUP_ID_NOT_FOUND", "_NOT_IMPLEMENTED"})


class GroupOffsets(GroupReader):
    """The offsets of ``group``; to be closed, or used as a ``with`` block. Every error is a BrokerError."""

    def __init__(self, config: KafkaConfig, group: str) -> None:
        super().__init__(config, group)
        self._config = config
        self._group = group

    def check_stopped(self) -> None:
        """Raise BrokerError if the group has members: their next commits would undo the change."""
        admin = AdminClient({"logger": ClientLog(time.monotonic)} | admin_configuration(self._config))
        try:
            described = admin.describe_consumer_groups([self._group], request_timeout=TIMEOUT_SECONDS)
            members = described[self._group].result().members
        except KafkaException as error:
            if error.args[0].name() in _NOT_TOLD:
                return  # The broker does not say: it refuses the commit if there are members.
            with translating(f"asking for the members of group {self._group!r}"):
                raise
        if members:
            hosts = sorted({member.host.lstrip("/") for member in members})
            named = ", ".join(hosts[:MOST_MEMBERS_NAMED]) + (", ..." if len(hosts) > MOST_MEMBERS_NAMED else "")
            raise BrokerError(
                f"group {self._group!r} has {len(members)} member{'s' if len(members) > 1 else ''} ({named}): stop its "
                "consumers first, for their next commits would undo the reset",
                code="NON_EMPTY_GROUP",
            )

    def first_at(self, tps: Collection[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int | None]:
        """The first offset of each partition whose message has this time or a later one; None if there is none."""
        with translating("asking for offsets by time"):
            asked = [ClientPartition(tp.topic, tp.partition, timestamp_ms) for tp in tps]
            answers = self._client.offsets_for_times(asked, timeout=TIMEOUT_SECONDS)
            for answer in answers:
                if answer.error is not None:
                    raise KafkaException(answer.error)
        return {
            TopicPartition(each.topic, each.partition): each.offset if each.offset >= 0 else None for each in answers
        }

    def write(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit these, without a map: nothing above them counts as finished. Returns when the broker has them."""
        places = [ClientPartition(tp.topic, tp.partition, offset, "") for tp, offset in offsets.items()]
        with translating(f"committing for group {self._group!r}, which only a stopped group allows"):
            answers = self._client.commit(offsets=places, asynchronous=False)
            refused = next((answer.error for answer in answers or () if answer.error is not None), None)
            if refused is not None:
                raise KafkaException(refused)
