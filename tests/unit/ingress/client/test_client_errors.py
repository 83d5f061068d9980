"""What the client raises becomes an error of ours, which says what to do next."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.errors import (
    AuthenticationError,
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    PyrallelConsumerError,
    StateError,
    UnknownTopicError,
)
from pyrallel_consumer.ingress.client.client_errors import translate_client_error


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (KafkaError._ALL_BROKERS_DOWN, BrokerUnreachableError, "KafkaConfig.bootstrap_servers"),  # noqa: SLF001
        (KafkaError._TRANSPORT, BrokerUnreachableError, "advertised listeners"),  # noqa: SLF001
        (KafkaError._TIMED_OUT, BrokerUnreachableError, "security_protocol"),  # noqa: SLF001
        (KafkaError._RESOLVE, BrokerUnreachableError, "DNS"),  # noqa: SLF001
        (KafkaError._AUTHENTICATION, AuthenticationError, "sasl_password"),  # noqa: SLF001
        (KafkaError.SASL_AUTHENTICATION_FAILED, AuthenticationError, "sasl_username"),
        (KafkaError.UNSUPPORTED_SASL_MECHANISM, AuthenticationError, "sasl_mechanisms"),
        (KafkaError.ILLEGAL_SASL_STATE, AuthenticationError, "takes no SASL"),
        (KafkaError._SSL, AuthenticationError, "ssl_ca_location"),  # noqa: SLF001
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownTopicError, "create the topic"),
        (KafkaError._UNKNOWN_TOPIC, UnknownTopicError, "create the topic"),  # noqa: SLF001
        (KafkaError._UNKNOWN_PARTITION, UnknownTopicError, "no such partition"),  # noqa: SLF001
        (KafkaError.TOPIC_EXCEPTION, UnknownTopicError, "no topic can have this name"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, BrokerError, "grant this user READ"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, BrokerError, "KafkaConfig.consumer_group"),
        (KafkaError.INCONSISTENT_GROUP_PROTOCOL, BrokerError, "partition.assignment.strategy"),
        (KafkaError.INVALID_SESSION_TIMEOUT, BrokerError, "session_timeout_ms"),
        (KafkaError.FENCED_INSTANCE_ID, BrokerError, "group.instance.id"),
        (KafkaError.UNSUPPORTED_VERSION, BrokerError, "too old"),
        (KafkaError._AUTO_OFFSET_RESET, BrokerError, "auto_offset_reset is none"),  # noqa: SLF001
        (KafkaError.OFFSET_METADATA_TOO_LARGE, BrokerError, "offset.metadata.max.bytes"),
        (KafkaError.ILLEGAL_GENERATION, BrokerError, "ILLEGAL_GENERATION"),
    ],
    ids=repr,
)
def test_errors_of_the_broker_get_their_class_and_say_what_to_do_next(
    code: int, kind: type[BrokerError], advice: str
) -> None:
    error = KafkaError(code, "the words of the client")
    for raised in (error, KafkaException(error)):
        translated = translate_client_error(raised, "asking for something")
        assert type(translated) is kind
        assert isinstance(translated, BrokerError)
        assert translated.code == error.name()
        assert str(translated).startswith("asking for something: the words of the client")
        assert advice in str(translated)


def test_whether_a_second_try_may_succeed_is_said() -> None:
    def retriable(code: int) -> bool:
        translated = translate_client_error(KafkaError(code))
        assert isinstance(translated, BrokerError)
        return translated.retriable

    assert retriable(KafkaError.NOT_COORDINATOR)
    assert retriable(KafkaError._TIMED_OUT)  # noqa: SLF001 -- the client's name for it
    assert not retriable(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert not retriable(KafkaError.FENCED_INSTANCE_ID)


def test_an_invalid_argument_that_is_about_no_setting_is_no_configuration_error() -> None:
    translated = translate_client_error(KafkaError(KafkaError._INVALID_ARG, "offset out of bounds"))  # noqa: SLF001
    assert type(translated) is BrokerError
    translated = translate_client_error(KafkaError(KafkaError._INVALID_ARG, "Failed to create consumer: for no reason"))  # noqa: SLF001
    assert type(translated) is ConfigurationError
    assert "for no reason" in str(translated)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (RuntimeError("Consumer closed"), StateError),
        (TypeError("not a dict"), ConfigurationError),
        (OSError("disk"), BrokerError),
        (KafkaException("without a code"), BrokerError),
    ],
    ids=repr,
)
def test_whatever_else_the_client_raises_becomes_an_error_of_ours(
    raised: Exception, kind: type[PyrallelConsumerError]
) -> None:
    translated = translate_client_error(raised)
    assert type(translated) is kind
    assert str(raised) in str(translated)


def test_an_error_of_ours_is_left_as_it_is() -> None:
    ours = StateError("started twice")
    assert translate_client_error(ours) is ours
