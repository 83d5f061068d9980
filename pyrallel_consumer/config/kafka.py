"""``KafkaConfig``: the connection to Kafka, the group, dead letters; other classes of settings are nested in it."""

from __future__ import annotations

import json
import os
import re
from typing import Any, ClassVar, Unpack

from pydantic import Field, SecretStr, field_validator

from pyrallel_consumer.config.metrics import MetricsConfig
from pyrallel_consumer.config.parallel import ParallelConsumerConfig
from pyrallel_consumer.config.settings import Settings, as_secret, is_secret_name
from pyrallel_consumer.config.typed.arguments import KafkaArguments
from pyrallel_consumer.config.typed.attributes import KafkaAttributes
from pyrallel_consumer.config.typed.choices import (
    GroupProtocol,
    OffsetReset,
    PayloadMode,
    SaslMechanism,
    SecurityProtocol,
    chosen,
)
from pyrallel_consumer.config.values import HIGHEST_PORT, lowered
from pyrallel_consumer.dto import (
    DlqPayloadMode,
)

_BROKER_ADDRESS = re.compile(r"^(?:\w+://)?(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:,/\[\]]+)(?::(?P<port>\d{1,5}))?$")

# Auto commit would mark messages done that no worker has finished.
_NEVER_ON = frozenset({"enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store"})


def _uppered(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


def parsed_json(text: str, expected: type) -> Any:
    """The JSON object or list in a variable's text. Raises ValueError if it is something else."""
    kind = "object" if expected is dict else "list"
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not a JSON {kind}: {error.msg} at character {error.pos}") from None
    except (RecursionError, ValueError):
        raise ValueError(f"is not a JSON {kind} that can be read: it nests too deep, or a number is too long") from None
    if not isinstance(parsed, expected):
        raise ValueError(f"is JSON, but not a JSON {kind}")  # noqa: TRY004 -- pydantic reports a ValueError
    return parsed


def split_at_commas(value: Any) -> Any:
    """The parts of text that is separated by commas, or a JSON list; any other value as a list, or as it is."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    if value.lstrip().startswith('["') or value.strip() == "[]":
        return parsed_json(value, list)
    return [part.strip() for part in value.split(",") if part.strip()]


class KafkaConfig(KafkaAttributes, Settings):
    """The connection to Kafka, the group, dead letters, and the nested settings."""

    environment_prefixes = ("KAFKA_",)
    argument = "config"
    masked_fields: ClassVar[frozenset[str]] = frozenset({"librdkafka"})

    bootstrap_servers: list[str] = Field(default_factory=lambda: ["localhost:9092"], min_length=1)
    """Brokers to connect to first, ``host:port`` each; a list, or text separated by commas. Name two or three, so that
    one may be down; the client learns the rest of the cluster from them."""

    consumer_group: str = Field("pyrallel-consumer-group", min_length=1, max_length=249)
    """The group whose members share the partitions and whose offsets are committed. Two services that both need all
    messages need two groups."""

    auto_offset_reset: OffsetReset = "earliest"
    """Where to begin if there is no committed offset, or if the log no longer holds it (retention, a cut log):
    ``earliest`` (default: nothing is missed), ``latest``, or ``none``, which stops the consumer with an error."""

    group_protocol: GroupProtocol = "auto"
    """The protocol of the group. ``consumer`` is KIP-848: a member that dies does not delay the commits of the others.
    ``auto`` (default) tries it, and takes ``classic`` if a broker does not support it, if the group refuses it, or
    if a setting is set that exists only in ``classic``, for example ``session_timeout_ms``; one log line says why. With
    ``consumer`` the consumer does not start if the broker does not support it."""

    session_timeout_ms: int = Field(45_000, ge=1000, le=1_800_000)
    """Milliseconds without a heartbeat after which the group reassigns a member's partitions, 1000-1,800,000. A low
    value removes members after a short network problem; a high value leaves a killed member's partitions unread for
    that long. The broker has its own limits. Only for the ``classic`` protocol: ``group_protocol`` = ``auto`` takes it
    when this is set. With ``consumer`` the broker decides (``group.consumer.session.timeout.ms``)."""

    dlq_enabled: bool = True
    """Whether a message whose last attempt failed is produced to ``<topic><dlq_topic_suffix>``. Create that topic,
    unless your brokers create topics automatically: until it exists, failed messages and their keys wait."""

    dlq_topic_suffix: str = Field(".dlq", max_length=200, pattern=r"^[A-Za-z0-9._-]+$")
    """Appended to a topic's name for its dead letters: 1-200 letters, digits, ``.``, ``_``, ``-``."""

    dlq_payload_mode: PayloadMode = chosen(DlqPayloadMode.FULL)
    """``full``: key, value and headers unchanged (default); ``metadata_only``: neither key nor value, for data
    that must not be copied."""

    security_protocol: SecurityProtocol | None = None
    """How to connect to brokers; unset: librdkafka's default, PLAINTEXT."""

    sasl_mechanisms: SaslMechanism | None = None
    """How to log in; needs a ``security_protocol`` that begins with SASL."""

    sasl_username: str | None = None
    """The user name, for PLAIN and SCRAM."""

    sasl_password: SecretStr | None = None
    """The password of ``sasl_username``; never printed."""

    ssl_ca_location: str | None = None
    """File or folder with the certificates of the authorities that signed the brokers' certificates; unset: the
    system's own."""

    ssl_certificate_location: str | None = None
    """PEM file with this client's certificate, if brokers ask for one."""

    ssl_key_location: str | None = None
    """PEM file with its private key."""

    ssl_key_password: SecretStr | None = None
    """The password of the private key; never printed. Unset: the key is not encrypted."""

    librdkafka: dict[str, Any] = Field(default_factory=dict)
    """Any other client setting by librdkafka's own name. It overrides this library's choice, except for auto commit.
    Numbers and harmless names are printed, other values are masked. Settings of producers go to the producer of dead
    letters."""

    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    parallel_consumer: ParallelConsumerConfig = Field(default_factory=ParallelConsumerConfig)

    def __init__(self, **values: Unpack[KafkaArguments]) -> None:
        super().__init__(**values)

    @field_validator("auto_offset_reset", "dlq_payload_mode", "group_protocol", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return lowered(value)

    @field_validator("security_protocol", "sasl_mechanisms", mode="before")
    @classmethod
    def _as_kafka_spells_it(cls, value: Any) -> Any:
        return _uppered(value)

    @field_validator("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("bootstrap_servers", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        return split_at_commas(value)

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_broker_addresses(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            match = _BROKER_ADDRESS.match(address)
            if match is None or (match["port"] and not 0 < int(match["port"]) <= HIGHEST_PORT):
                raise ValueError(f"{address!r} is no broker address; write host:port")
        return addresses

    @field_validator("librdkafka", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        return parsed_json(value, dict) if isinstance(value, str) else value

    @field_validator("librdkafka")
    @classmethod
    def _fits_the_client(cls, mapping: dict[str, Any]) -> dict[str, Any]:
        for name, value in mapping.items():
            if name in _NEVER_ON and str(value).strip().lower() not in {"false", "f", "0"}:
                raise ValueError(
                    f"{name!r} cannot be turned on: offsets are committed when their messages are finished, not before"
                )
            if value is None or isinstance(value, dict | list | tuple | set):
                kind = type(value).__name__
                raise ValueError(f"{name!r} is of type {kind}; give text, a number or a boolean, or leave it out")
        return {name: as_secret(value) if is_secret_name(name) else value for name, value in mapping.items()}
