"""Translates the client's errors: into which class of ours, and what the user can do.

One table, by the name of librdkafka's or the protocol's code. Any other error becomes a ``BrokerError`` with the
client's own sentence. No sentence shows the value of a setting that holds a secret.
"""

from __future__ import annotations

import re
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.config.settings import is_secret_name
from pyrallel_consumer.errors import (
    AuthenticationError,
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    PyrallelConsumerError,
    StateError,
    UnknownTopicError,
)
from pyrallel_consumer.ingress.client.error_kinds import cause_of

_CLASSES: Final[dict[type[BrokerError], frozenset[str]]] = {
    BrokerUnreachableError: frozenset({"_ALL_BROKERS_DOWN", "_TRANSPORT", "_RESOLVE", "_TIMED_OUT"}),
    AuthenticationError: frozenset(
        {"_AUTHENTICATION", "_SSL", "SASL_AUTHENTICATION_FAILED", "ILLEGAL_SASL_STATE", "UNSUPPORTED_SASL_MECHANISM"}
    ),
    UnknownTopicError: frozenset(
        {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID", "TOPIC_EXCEPTION"}
    ),
}
_RETRIABLE: Final = _CLASSES[BrokerUnreachableError] | {
    "_MSG_TIMED_OUT",
    "_QUEUE_FULL",
    "_WAIT_COORD",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "KAFKA_STORAGE_ERROR",
    "LEADER_NOT_AVAILABLE",
    "NETWORK_EXCEPTION",
    "NOT_COORDINATOR",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "NOT_LEADER_FOR_PARTITION",
    "REBALANCE_IN_PROGRESS",
    "REQUEST_TIMED_OUT",
    "THROTTLING_QUOTA_EXCEEDED",
    "UNSTABLE_OFFSET_COMMIT",
}

_CHECK_ADDRESS: Final = (
    "check that KafkaConfig.bootstrap_servers names running brokers, that this machine reaches them and their "
    "advertised listeners, and that security_protocol fits the listener"
)
_CHECK_CREDENTIALS: Final = "check sasl_mechanisms, sasl_username and sasl_password, and that the user exists"
_CHECK_TLS: Final = (
    "the TLS handshake failed: check ssl_ca_location, ssl_certificate_location and ssl_key_location, and that the "
    "broker's certificate carries the host name used"
)
_CHECK_TOPIC: Final = "create the topic, or correct its name"
_TOO_OLD: Final = "the broker is too old for a setting in use, or has it turned off, such as group_protocol=consumer"
_OTHER_MEMBER: Final = "another consumer runs with the same group.instance.id: give each member its own"

_ADVICE: Final = {
    "_ALL_BROKERS_DOWN": _CHECK_ADDRESS,
    "_TRANSPORT": _CHECK_ADDRESS,
    "_TIMED_OUT": _CHECK_ADDRESS,
    "_RESOLVE": "DNS does not know this name: correct KafkaConfig.bootstrap_servers",
    "_AUTHENTICATION": _CHECK_CREDENTIALS,
    "SASL_AUTHENTICATION_FAILED": _CHECK_CREDENTIALS,
    "ILLEGAL_SASL_STATE": "the listener takes no SASL: correct KafkaConfig.security_protocol",
    "UNSUPPORTED_SASL_MECHANISM": "choose a mechanism of the broker in KafkaConfig.sasl_mechanisms",
    "_SSL": _CHECK_TLS,
    "TOPIC_AUTHORIZATION_FAILED": "grant this user READ and DESCRIBE on the topic, and WRITE on its dead-letter topic",
    "GROUP_AUTHORIZATION_FAILED": "grant this user READ on the group of KafkaConfig.consumer_group",
    "CLUSTER_AUTHORIZATION_FAILED": "grant this user the operation on the cluster",
    "UNKNOWN_TOPIC_OR_PART": _CHECK_TOPIC,
    "_UNKNOWN_TOPIC": _CHECK_TOPIC,
    "_UNKNOWN_PARTITION": "the topic has no such partition: it was deleted, or created again with fewer",
    "UNKNOWN_TOPIC_ID": "the topic was deleted or created again: start the consumer again",
    "TOPIC_EXCEPTION": "no topic can have this name: correct it",
    "_AUTO_OFFSET_RESET": (
        "the group has no offset to begin at and auto_offset_reset is none: commit one, or choose earliest or latest"
    ),
    "INCONSISTENT_GROUP_PROTOCOL": (
        "other members of the group use another partition.assignment.strategy, or another group_protocol and the "
        "broker's group.consumer.migration.policy allows no mixture: use theirs, or another consumer_group"
    ),
    "GROUP_ID_NOT_FOUND": (
        "the group speaks the classic protocol by now: start the consumer again, with KafkaConfig.group_protocol auto "
        "or classic"
    ),
    "INVALID_SESSION_TIMEOUT": (
        "KafkaConfig.session_timeout_ms lies outside the broker's group.min.session.timeout.ms and "
        "group.max.session.timeout.ms"
    ),
    "INVALID_GROUP_ID": "correct KafkaConfig.consumer_group",
    "GROUP_MAX_SIZE_REACHED": "run fewer members, or raise group.max.size of the broker",
    "FENCED_INSTANCE_ID": _OTHER_MEMBER,
    "UNRELEASED_INSTANCE_ID": (
        f"{_OTHER_MEMBER}; where it was killed, the group forgets it after the broker's session timeout"
    ),
    "UNSUPPORTED_ASSIGNOR": "the broker has no such group.remote.assignor: choose uniform or range",
    "UNSUPPORTED_VERSION": _TOO_OLD,
    "_UNSUPPORTED_FEATURE": _TOO_OLD,
    "MSG_SIZE_TOO_LARGE": "raise max.message.bytes of the topic, or choose dlq_payload_mode=metadata_only",
    "INVALID_RECORD": "a topic with cleanup.policy=compact takes no record without a key: dead letters want delete",
    "INVALID_TIMESTAMP": (
        "set the clock of this machine right, or message.timestamp.before.max.ms and message.timestamp.after.max.ms of "
        "the topic"
    ),
    "OFFSET_METADATA_TOO_LARGE": "raise offset.metadata.max.bytes of the broker",
    "_QUEUE_FULL": "the broker takes records more slowly than they come",
    "_MAX_POLL_EXCEEDED": "the poll thread stood still: look for what blocked the process",
}

# The forms in which librdkafka names the setting it refuses.
_REFUSED_SETTING: Final = (
    re.compile(r'(?:configuration property:?|bool value for) "(?P<name>[^"]+)"', re.IGNORECASE),
    re.compile(r"`(?P<name>[a-z_.]+)` (?:must be|is not supported)"),
    re.compile(r"(?P<name>ssl\.[a-z_.]+) failed"),
    re.compile(r"(?P<name>partition\.assignment\.strategy)"),
    re.compile(r"(?P<name>sasl\.\w+) and sasl\.\w+ must be set"),
    re.compile(r"(?P<name>SASL mechanism)"),
)
# Settings of ours by librdkafka's name, for sentences.
_FIELDS: Final = {
    "metadata.broker.list": "bootstrap_servers",
    "bootstrap.servers": "bootstrap_servers",
    "group.id": "consumer_group",
    "auto.offset.reset": "auto_offset_reset",
    "session.timeout.ms": "session_timeout_ms",
    "security.protocol": "security_protocol",
    "SASL mechanism": "sasl_mechanisms",
    "sasl.mechanisms": "sasl_mechanisms",
    "sasl.username": "sasl_username",
    "ssl.ca.location": "ssl_ca_location",
    "ssl.certificate.location": "ssl_certificate_location",
    "ssl.key.location": "ssl_key_location",
}
_UNKNOWN_SETTING: Final = "No such configuration property"
_REFUSED_AT_CONSTRUCTION: Final = re.compile(r"^Failed to create \w+: ")


def translate_client_error(error: BaseException | KafkaError, doing: str | None = None) -> PyrallelConsumerError:
    """The error to raise instead of the client's; ``doing`` says during which action ("asking for ...").

    Takes a ``KafkaError``, the ``KafkaException`` around one, or another error of the client's constructors
    (TypeError, ValueError, RuntimeError). An error of this library is returned unchanged.
    """
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        error = error.args[0]
    if isinstance(error, PyrallelConsumerError):
        return error
    if isinstance(error, KafkaError):
        return _translated(error, doing)
    if isinstance(error, TypeError | ValueError):
        return ConfigurationError(f"the Kafka client refuses its configuration: {error}")
    if isinstance(error, RuntimeError):
        return StateError(f"the Kafka client cannot be used any more: {error}")
    return BrokerError(_sentence(f"{type(error).__name__}: {error}", doing), code=type(error).__name__)


def advice_for(code: str) -> str:
    """What to do about an error of this name, as the end of a sentence; empty if unknown."""
    advice = _ADVICE.get(code)
    return f"; {advice}" if advice else ""


def _translated(error: KafkaError, doing: str | None) -> PyrallelConsumerError:
    code = cause_of(error)
    said = error.str().strip()
    if code == "_INVALID_ARG":
        refused = _refused_setting(said)
        if refused is not None:
            return refused
    kind = next((kind for kind, codes in _CLASSES.items() if code in codes), BrokerError)
    sentence = _sentence(f"{said} ({code})", doing)
    return kind(
        f"{sentence}{advice_for(code)}",
        code=code,
        retriable=error.retriable() or code in _RETRIABLE,
    )


def _refused_setting(said: str) -> ConfigurationError | None:
    """The error for a setting that the client refuses when it is made; None if the error is about something else."""
    match = next((found for form in _REFUSED_SETTING if (found := form.search(said))), None)
    if match is None:
        is_construction = _REFUSED_AT_CONSTRUCTION.match(said)
        return ConfigurationError(f"the Kafka client cannot be made: {said}") if is_construction else None
    name = match["name"]
    if said.startswith(_UNKNOWN_SETTING):
        return ConfigurationError(
            f"librdkafka has no setting {name!r}; correct its name in KafkaConfig.librdkafka "
            "(librdkafka's CONFIGURATION.md lists them all)"
        )
    field = _FIELDS.get(name)
    reason = "its value was refused" if is_secret_name(name) else _REFUSED_AT_CONSTRUCTION.sub("", said)
    return ConfigurationError(f"librdkafka refuses {name}{f' (KafkaConfig.{field})' if field else ''}: {reason}")


def _sentence(said: str, doing: str | None) -> str:
    return f"{doing}: {said}" if doing else said
