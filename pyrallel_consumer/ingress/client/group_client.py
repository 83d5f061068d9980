"""The client of a group's member, and the group protocol that it speaks. For the poll thread.

The only place that changes the protocol: it closes the first client and makes one that speaks ``classic``
(``ProtocolTrial`` says when). The client's own log says which protocols brokers support. There is no other source:
librdkafka asks for ``consumer``, and if the broker does not know that request, it reports nothing and looks for another
coordinator forever.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError

from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.error_kinds import cause_of, hidden_cause
from pyrallel_consumer.ingress.client.forgotten import forget
from pyrallel_consumer.ingress.reading.group_protocol import REFUSALS, ProtocolChoice, ProtocolTrial
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
# librdkafka's debug context that logs, for new connections only, which requests a broker supports.
FEATURE_CONTEXT: Final = "feature"
_FEATURE_FACILITIES: Final = frozenset({"APIVERSION", "FEATURE"})
_SHOWS_FEATURES: Final = frozenset({"all", "broker", "feature", "protocol"})
_VERSIONS: Final = re.compile(
    r"(?P<broker>\S+):\s+ApiKey ConsumerGroupHeartbeat \(\d+\) Versions \d+\.\.(?P<newest>\d+)"
)
_OFFER: Final = re.compile(
    r"(?P<broker>\S+):\s+Feature \w+: ConsumerGroupHeartbeat \([\d.]+\) (?P<missing>NOT )?supported by broker"
)
_VERSION_NEEDED: Final = 1
"""Kafka 3.7 to 3.9 have a preview, version 0. The client calls it supported and then does not speak it."""
_COORDINATOR: Final = "GroupCoordinator/"


class FeatureLog:
    """The ``logger`` of a client: tells the trial which brokers support ``consumer``, and passes on the user's lines.

    A refusal that the trial handles is not passed on as a fatal error, even if the client calls it one.
    """

    def __init__(self, configuration: Mapping[str, Any], trial: ProtocolTrial) -> None:
        self._inner = configuration["logger"]
        self._trial = trial
        contexts = {context.strip() for context in str(configuration.get("debug", "")).split(",")} - {""}
        self._is_debugging = bool(contexts)
        self._shows_features = bool(contexts & _SHOWS_FEATURES)
        self._with_preview: set[str] = set()

    @classmethod
    def installed_in(cls, configuration: Mapping[str, Any], trial: ProtocolTrial) -> dict[str, Any]:
        """The configuration with its ``logger`` wrapped in this one."""
        contexts = ",".join(filter(None, (configuration.get("debug"), FEATURE_CONTEXT)))
        return {**configuration, "debug": contexts, "logger": cls(configuration, trial)}

    def log(self, level: int, template: str, facility: str, name: str, text: str) -> None:
        """Called by the client, from within ``poll``."""
        is_feature = facility in _FEATURE_FACILITIES
        if is_feature:
            self._hear(text)
        if facility == "FATAL" and self._trial.may_change and hidden_cause(text) in REFUSALS:
            level = logging.DEBUG
        elif level <= logging.DEBUG and (not self._is_debugging or (is_feature and not self._shows_features)):
            return
        self._inner.log(level, template, facility, name, text)

    def _hear(self, text: str) -> None:
        if (versions := _VERSIONS.search(text)) is not None:
            is_preview = int(versions["newest"]) < _VERSION_NEEDED
            (self._with_preview.add if is_preview else self._with_preview.discard)(versions["broker"])
        elif (offer := _OFFER.search(text)) is not None:
            has_it = offer["missing"] is None and offer["broker"] not in self._with_preview
            self._trial.hear_broker(has_it=has_it, is_coordinator=_COORDINATOR in text)


class GroupClient:
    """Makes the client of one consumer. ``configuration`` is for the protocol of ``choice``, ``classic`` for the other.

    Both are complete, callbacks and a ``logger`` included.
    """

    def __init__(
        self, configuration: Mapping[str, Any], choice: ProtocolChoice, classic: Mapping[str, Any] | None
    ) -> None:
        self._classic = classic
        self._trial = ProtocolTrial(choice)
        self._configuration = configuration
        if choice.first == "consumer":
            self._configuration = FeatureLog.installed_in(configuration, self._trial)
        self.client: Consumer | None = None

    @property
    def protocol(self) -> str:
        """``classic`` or ``consumer``. For any thread."""
        return self._trial.in_use

    @property
    def must_change(self) -> bool:
        """Whether the group refused the client, so that ``changed`` must be called."""
        return self._trial.must_change

    def make(self) -> Consumer:
        """Make the client; it is not connected yet. Raises ConfigurationError."""
        try:
            self.client = Consumer(dict(self._configuration))
        except Exception as error:
            raise translate_client_error(error) from error
        return self.client

    def checked(self, client: Consumer) -> Consumer:
        """The client to join the group with, once a broker has answered ``client``.

        Raises BrokerError if the settings allow only ``consumer`` and no broker supports it.
        """
        client.poll(0)  # serves the client's log
        if not self._trial.check_offer():
            raise BrokerError(
                "the broker does not have the group protocol consumer (KIP-848): set KafkaConfig.group_protocol to "
                "auto or classic, and leave group.protocol out of KafkaConfig.librdkafka",
                code="UNSUPPORTED_VERSION",
            )
        if not self._trial.must_change:
            self._tell()
            return client
        client.close()
        return self.changed()

    def changed(self) -> Consumer:
        """Make the client that speaks ``classic``; the previous client is closed already."""
        self.client = None
        self._trial.change()
        assert self._classic is not None, "a choice that may change comes with a configuration for classic"
        self._configuration = self._classic
        self._tell()
        return self.make()

    def forget(self) -> None:
        """Forget the client without closing it. Its end may wait for a session timeout, so it has a thread of its own.

        Nothing else may refer to the client. Its callbacks are not called any more.
        """
        left, self.client = [self.client], None
        forget(left, is_from_poll_thread=True)

    def is_refusal(self, error: KafkaError) -> bool:
        """Whether the client's fatal ``error`` means that it must change, and not that the consumer fails."""
        return self._trial.hear_refusal(cause_of(error))

    def settle(self) -> None:
        """A partition was assigned: the protocol stays."""
        self._trial.settle()

    def _tell(self) -> None:
        why = f": {self._trial.why}" if self._trial.why else ""
        LOGGER.info("the group protocol is %s%s", self._trial.in_use, why, extra={"group_protocol": self._trial.in_use})
