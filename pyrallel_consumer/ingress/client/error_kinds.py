"""Which errors of the client end a consumer, and which refuse its credentials; it survives all others."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError

# They are permanent for this member and this request: a consumer that went on would hang silently.
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

# librdkafka reports a fatal error as `_FATAL`. Only its text says which error it is, in these sentences.
_HIDDEN_CAUSES: Final = {
    KafkaError(code).str(): KafkaError(code).name()
    for code in (
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_ID_NOT_FOUND,
        KafkaError.GROUP_MAX_SIZE_REACHED,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.INVALID_REQUEST,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.UNSUPPORTED_ASSIGNOR,
        KafkaError.UNSUPPORTED_VERSION,
    )
}


def cause_of(error: KafkaError) -> str:
    """The name of the error; for a fatal one the name of its cause, if the client says it."""
    return hidden_cause(error.str()) if error.name() == "_FATAL" else error.name()


def hidden_cause(said: str) -> str:
    """The name of the error that the client's text calls fatal, `_FATAL` if it is an unknown one."""
    return next((name for sentence, name in _HIDDEN_CAUSES.items() if sentence in said), "_FATAL")


def is_fatal(error: KafkaError) -> bool:
    """Whether this error ends the consumer."""
    return error.fatal() or error.name() in FATAL


def is_refusal(error: KafkaError) -> bool:
    """Whether the broker, or the TLS handshake with it, refused our identity; trying again does not help."""
    return error.name() in REFUSALS
