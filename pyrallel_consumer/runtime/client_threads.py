"""The threads that hold a Kafka client: the poll thread, and the producers of letters, records and transactions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from pyrallel_consumer.control_plane.membership import gap_seconds
from pyrallel_consumer.execution_plane.processes.boot_clock import boot_seconds
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.ingress.client.client_settings import (
    consumer_configuration,
    producer_configuration,
    protocol_choice,
    read_ahead_limits,
    transaction_configuration,
)

if TYPE_CHECKING:
    from pyrallel_consumer.config import KafkaConfig, OutputConfig
    from pyrallel_consumer.ingress.producing.transactions import Transactions
    from pyrallel_consumer.ingress.reading.group_protocol import ProtocolChoice
    from pyrallel_consumer.ingress.reading.subscription import Subscription
    from pyrallel_consumer.runtime.surroundings import ProducerThread, Surroundings


class GroupSettings(NamedTuple):
    """The client's configuration, and ``classic`` for the other protocol if the protocol may change.

    After a gap in time of ``gap_seconds`` the group may have given the partitions to others.
    """

    configuration: dict[str, Any]
    choice: ProtocolChoice
    classic: dict[str, Any] | None
    gap_seconds: float


def group_settings(config: KafkaConfig) -> GroupSettings:
    """The settings of the consuming client. Raises ConfigurationError if they contradict each other."""
    configuration = consumer_configuration(config)
    choice = protocol_choice(config)
    classic = consumer_configuration(config, "classic") if choice.may_change else None
    session_ms = (classic or configuration).get("session.timeout.ms", 45_000)
    return GroupSettings(configuration, choice, classic, gap_seconds(float(session_ms) / 1000))


class ClientThreads:
    """``transactions`` is None unless records are written exactly once.

    ``letter_producer`` produces dead letters and records; None if there are none, or they go with transactions.
    """

    def __init__(
        self,
        config: KafkaConfig,
        group: GroupSettings,
        subscription: Subscription,
        output: OutputConfig | None,
        *,
        is_dlq: bool,
        grace_seconds: float,
        surroundings: Surroundings,
        deliver: Callable[[object], None],
    ) -> None:
        self.transactions: Transactions | None = None
        if output is not None and output.is_exactly_once:
            self.transactions = surroundings.transactions(
                transaction_configuration(config, output), config.consumer_group, deliver
            )
        self.poller = surroundings.poller(
            group.configuration,
            choice=group.choice,
            classic=group.classic,
            subscription=subscription,
            deliver=deliver,
            policy=PollerPolicy(
                poll_batch_size=config.parallel_consumer.poll_batch_size,
                read_ahead=read_ahead_limits(config),
                revoke_grace_seconds=grace_seconds,
                gap_seconds=group.gap_seconds,
            ),
            boot_clock=boot_seconds,
            transactions=self.transactions,
        )
        self._checks = [] if output is None else surroundings.output_checks(config, output)
        self.letter_producer: ProducerThread | None = None
        if self.transactions is None and (is_dlq or output is not None):
            suffix = config.dlq_topic_suffix
            self.letter_producer = surroundings.producer(
                producer_configuration(config, output),
                deliver=deliver,
                topics_of=(lambda known: subscription.letter_topics(known, suffix)) if is_dlq else None,
            )

    @property
    def _producers(self) -> list[ProducerThread | Transactions]:
        return [thread for thread in (self.letter_producer, self.transactions) if thread is not None]

    def starts(self) -> list[Callable[[], Future[None]]]:
        """The functions that start the threads, in order: the first messages may need dead letters at once."""
        return [*self._checks, *(thread.start for thread in self._producers), self.poller.start]

    def under_way(self) -> list[Future[None]]:
        """For each running thread, the future that is done when it has ended."""
        return [thread.ended for thread in (self.poller, *self._producers) if thread.is_alive]

    def abandon(self) -> None:
        """Let the threads end as soon as they can; nothing more is committed or produced."""
        self.poller.abandon()
        for thread in self._producers:
            thread.abandon()
