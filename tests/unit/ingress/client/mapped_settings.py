"""Settings of the client as a user maps them, and the client's refusals."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.ingress.client.client_errors import translate_client_error

NOBODY_LISTENS = "127.0.0.1:1"


def mapped(**client_settings: Any) -> KafkaConfig:
    """A configuration whose ``librdkafka`` mapping holds these, written with _ for the dots."""
    return KafkaConfig(librdkafka={name.replace("_", "."): value for name, value in client_settings.items()})


def refusal_of(configuration: dict[str, Any], client: Any = Consumer) -> str:
    """The error for a configuration that the client does not accept."""
    with pytest.raises((KafkaException, TypeError, ValueError)) as refused:
        client(configuration)
    translated = translate_client_error(refused.value)
    assert isinstance(translated, ConfigurationError)
    return str(translated)
