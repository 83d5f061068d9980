"""The settings of the records that workers return: how they are delivered, and how many may wait."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final, Unpack

from pydantic import Field, field_validator

from pyrallel_consumer.config.kafka import parsed_json, split_at_commas
from pyrallel_consumer.config.settings import Settings, as_secret, is_secret_name
from pyrallel_consumer.config.typed.arguments import OutputArguments
from pyrallel_consumer.config.typed.attributes import OutputAttributes
from pyrallel_consumer.config.typed.choices import Delivered, chosen
from pyrallel_consumer.config.values import lowered, named_function
from pyrallel_consumer.control_plane.policies import OutputLimits
from pyrallel_consumer.record import Delivery

_TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_OURS: Final = frozenset(
    {"enable.idempotence", "transactional.id", "transaction.timeout.ms", "enable.gapless.guarantee"}
)


class OutputConfig(OutputAttributes, Settings):
    """Records that workers return: to which guarantee they are written, and how many may wait for the broker."""

    environment_prefixes = ("OUTPUT_",)
    argument = "output"
    masked_fields: ClassVar[frozenset[str]] = frozenset({"librdkafka"})

    delivery: Delivered = chosen(Delivery.AT_LEAST_ONCE)
    """``at_least_once`` (default): an offset completes when the broker has every record of its message; after a crash
    some are written again. ``exactly_once``: records, offsets and dead letters travel in one transaction every
    ``commit_interval_ms``; a reader of committed records sees them once. It needs brokers with transactions, and the
    right to write and describe the transactional id."""

    topics: list[str] = Field(default_factory=list)
    """Topics to which workers write, a list or text separated by commas; none by default. They are checked at the
    start and by ``run --check``: each must exist, and this user must be allowed to write to it. Records for other
    topics are written all the same, and found wrong only when the broker refuses them."""

    value_serializer: Callable[..., Any] | str | None = None
    """Makes bytes of each ``Record.value``: a callable ``(value, SerializationContext) -> bytes``, as those of
    ``confluent_kafka.schema_registry`` are, or ``package.module:function``. None by default: values are bytes or text.
    It runs where the worker runs, so for ``process`` it must be picklable; its exception is a failed attempt."""

    buffer_max_records: int = Field(10_000, ge=1, le=10_000_000)
    """When this many records wait for the broker, no more messages start, 1-10,000,000. Running ones may add theirs. A
    low value keeps workers idle while the broker is slow. Under ``exactly_once`` it also limits the messages of a
    transaction, and so the rate: at most this many per ``commit_interval_ms``."""

    buffer_max_bytes: int = Field(64 * 1024 * 1024, ge=1, le=1 << 40)
    """The same limit in bytes (keys, values, headers, 512 per record), 1 byte-1 TiB, default 64 MiB. One record always
    fits."""

    transactional_id_prefix: str | None = Field(None, min_length=1, max_length=200)
    """The beginning of the transactional id, 1-200 characters; unset: the group's name. The rest is
    ``group.instance.id`` if that is set, else a random text of every start. Give access rights for this prefix."""

    transaction_timeout_ms: int = Field(10_000, ge=1000, le=900_000)
    """Milliseconds after which the broker aborts an unfinished transaction, 1,000-900,000. In the worst case a killed
    member's partitions wait this long for their next owner. A transaction is open for milliseconds: only a broker that
    is slow to answer needs more."""

    librdkafka: dict[str, Any] = Field(default_factory=dict)
    """Any further setting of the producer by librdkafka's own name (``acks``, ``compression.type``, ``linger.ms``);
    it overrides ``KafkaConfig.librdkafka`` and this library's choice. Settings on which the guarantee depends cannot be
    set."""

    def __init__(self, **values: Unpack[OutputArguments]) -> None:
        super().__init__(**values)

    @field_validator("delivery", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return lowered(value)

    @field_validator("topics", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        return split_at_commas(value)

    @field_validator("topics")
    @classmethod
    def _are_names(cls, names: list[str]) -> list[str]:
        for name in names:
            if not _TOPIC_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a topic")
        return names

    @field_validator("value_serializer")
    @classmethod
    def _names_a_function(cls, value: Any) -> Any:
        return named_function(value)

    @field_validator("librdkafka", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        return parsed_json(value, dict) if isinstance(value, str) else value

    @field_validator("librdkafka")
    @classmethod
    def _leaves_the_guarantee(cls, mapping: dict[str, Any]) -> dict[str, Any]:
        for name, value in mapping.items():
            if name in _OURS:
                raise ValueError(
                    f"{name!r} cannot be set: delivery, transactional_id_prefix and transaction_timeout_ms decide it"
                )
            if name in {"acks", "request.required.acks"} and str(value) not in {"all", "-1"}:
                raise ValueError(f"{name!r} must be all: a record counts as written when every replica has it")
            if value is None or isinstance(value, dict | list | tuple | set):
                kind = type(value).__name__
                raise ValueError(f"{name!r} is of type {kind}; give text, a number or a boolean, or leave it out")
        return {name: as_secret(value) if is_secret_name(name) else value for name, value in mapping.items()}

    def limits(self) -> OutputLimits:
        return OutputLimits(self.buffer_max_records, self.buffer_max_bytes)

    @property
    def is_exactly_once(self) -> bool:
        return self.delivery is Delivery.EXACTLY_ONCE
