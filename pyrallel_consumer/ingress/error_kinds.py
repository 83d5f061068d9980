"""Which errors of the client end a consumer, and which refuse its credentials; all others pass or are tried again."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError

# They do not go away while the same member asks for the same thing: going on would be silence without end.
FATAL: Final = frozenset(
    {
        "_AUTO_OFFSET_RESET",
        "_FATAL",
        "_FENCED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "FENCED_INSTANCE_ID",
        "GROUP_AUTHORIZATION_FAILED",
        "GROUP_MAX_SIZE_REACHED",
        "INCONSISTENT_GROUP_PROTOCOL",
        "INVALID_GROUP_ID",
        "INVALID_SESSION_TIMEOUT",
        "TOPIC_AUTHORIZATION_FAILED",
        "UNRELEASED_INSTANCE_ID",
        "UNSUPPORTED_ASSIGNOR",
    }
)
REFUSALS: Final = frozenset({"_AUTHENTICATION", "_SSL", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM"})


def is_fatal(error: KafkaError) -> bool:
    """Whether the consumer cannot go on after this error."""
    return error.fatal() or error.name() in FATAL


def is_refusal(error: KafkaError) -> bool:
    """Whether the broker, or the TLS handshake with it, refused who we are; trying again changes nothing."""
    return error.name() in REFUSALS
