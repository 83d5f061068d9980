"""Makes the librdkafka configuration from the settings, for the consumer, the producer and the admin client.

There are three layers: values that the guarantees need (auto commit off: nobody can change it), the values of
``config``, and this file's choices for speed and stability. The user's ``librdkafka`` mapping overrides the last two. A
mistake that can be found without a broker is refused here, by the setting's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pyrallel_consumer.config import KafkaConfig, OutputConfig
from pyrallel_consumer.config.settings import revealed
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.ingress.reading.group_protocol import Protocol, ProtocolChoice, choose

# Two names of one setting: the first is replaced by the second, so that the user's value always replaces ours.
_ALIASES: Final = {
    "metadata.broker.list": "bootstrap.servers",
    "sasl.mechanism": "sasl.mechanisms",
    "delivery.timeout.ms": "message.timeout.ms",
    "request.required.acks": "acks",
    "max.partition.fetch.bytes": "fetch.message.max.bytes",
}

# librdkafka warns about every setting that a client does not use, so each client gets only its own.
_CONSUMER_ONLY: Final = frozenset(
    {
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "auto.offset.reset",
        "check.crcs",
        "consume.callback.max.messages",
        "consume_cb",
        "coordinator.query.interval.ms",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.protocol.type",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "isolation.level",
        "max.poll.interval.ms",
        "max.poll.records",
        "offset.store.method",
        "offset.store.path",
        "offset.store.sync.interval.ms",
        "offset_commit_cb",
        "on_commit",
        "partition.assignment.strategy",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "rebalance_cb",
        "session.timeout.ms",
        "share.acknowledgement.mode",
    }
)
_PRODUCER_ONLY: Final = frozenset(
    {
        "acks",
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.report.only.error",
        "dr_cb",
        "dr_msg_cb",
        "enable.gapless.guarantee",
        "enable.idempotence",
        "linger.ms",
        "message.send.max.retries",
        "message.timeout.ms",
        "msg_order_cmp",
        "on_delivery",
        "partitioner",
        "partitioner_cb",
        "produce.offset.report",
        "queue.buffering.backpressure.threshold",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "queuing.strategy",
        "request.timeout.ms",
        "retries",
        "sticky.partitioning.linger.ms",
        "transaction.timeout.ms",
        "transactional.id",
    }
)
# The user's callbacks are about the consumer: the other clients must not call them.
_ABOUT_THE_CONSUMER: Final = frozenset({"error_cb", "stats_cb", "throttle_cb", "statistics.interval.ms"})

# With group.protocol=consumer the broker sets these, and the client refuses them.
_SET_BY_BROKER: Final = frozenset(
    {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type"}
)
# A client that only reads about a group needs none of these, and no member's name.
_OF_MEMBERS: Final = ("group.instance.id", "group.protocol", "group.remote.assignor")
_LOCATIONS: Final = (
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
)

# All clients.
_STEADY: Final = {
    "client.id": "pyrallel-consumer",  # names the library in the broker's logs and quotas
    "socket.keepalive.enable": True,  # load balancers and NAT silently drop quiet connections
    "socket.timeout.ms": 30_000,  # of 60,000: a frozen broker is given up in half of librdkafka's default
    "reconnect.backoff.max.ms": 2_000,  # of 10,000: back within two seconds of a broker's restart
}

# The consumer. Fetched messages that are not delivered yet are in three places: a response on its way, the client's
# buffer, and the poll thread's read-ahead. Each gets a quarter of ``queue_max_bytes``, between 1 and 16 MiB, so that a
# small limit makes a small process: at most 48 MiB beside ``queue_max_bytes`` itself, and 3 MiB for the smallest.
_FETCHING: Final = {
    # Of 1 MiB: from one response the client delivers all messages of one partition before it turns to the next
    # partition. Meanwhile the keys of the other partitions have nothing to do. A broker sends at least one whole batch,
    # however large it is.
    "fetch.message.max.bytes": 256 * 1024,
    "fetch.queue.backoff.ms": 10,  # of 1000: the fetcher sleeps this long when the local queue is full; 3-4x throughput
    "fetch.wait.max.ms": 50,  # of 500: a resumed partition waits for the outstanding fetch; less loads idle brokers
    "queued.min.messages": 10_000,  # of 100,000 per partition: each message costs some 400 bytes beside its own
}
MOST_READ_AHEAD: Final = FlowLimits(max_messages=20_000, max_bytes=16 * 1024 * 1024)
_LEAST_READ_AHEAD: Final = FlowLimits(max_messages=1000, max_bytes=1024 * 1024)
_QUEUES_READ_AHEAD: Final = 4  # the client delivers a partition's whole response at once, thousands of small messages
_LONGEST_HEARTBEAT_MS: Final = 1000  # of 3000: a rebalance is noticed with the next heartbeat
_HEARTBEATS_PER_SESSION: Final = 6
_POLL_INTERVAL_MS: Final = 300_000  # librdkafka's own; the poll thread polls whatever the workers do

# The producer of dead letters.
_DELIVERY: Final = {
    "acks": "all",  # a source offset is committed because of this acknowledgement
    "enable.idempotence": True,  # a retry inside the client does not write a letter twice
    "message.timeout.ms": 30_000,  # of 300,000: a letter that cannot be produced is reported in time to act
    "topic.metadata.propagation.max.ms": 5_000,  # of 30,000: how soon a missing dead-letter topic is reported
    "queue.buffering.max.messages": 10_000,
    "queue.buffering.max.kbytes": 64 * 1024,  # of 1 GiB
}

# The producer of records and dead letters.
_OUTPUT: Final = {
    "message.timeout.ms": 0,  # of 300,000: later records overtake a record that is given up and sent again
    "queue.buffering.max.messages": 100_000,  # OutputConfig limits the waiting records
}


def protocol_choice(config: KafkaConfig) -> ProtocolChoice:
    """Which group protocol the settings ask for. Raises ConfigurationError if they contradict each other."""
    theirs = _users_mapping(config, without=_PRODUCER_ONLY)
    in_mapping = theirs.get("group.protocol")
    classic_only = ["KafkaConfig.session_timeout_ms"] if "session_timeout_ms" in config.model_fields_set else []
    classic_only += sorted(_SET_BY_BROKER & theirs.keys())
    return choose(config.group_protocol, None if in_mapping is None else str(in_mapping).lower(), classic_only)


def protocol_of(configuration: Mapping[str, Any]) -> Protocol:
    """The group protocol that a client of this configuration speaks."""
    return "consumer" if str(configuration.get("group.protocol", "classic")).lower() == "consumer" else "classic"


def consumer_configuration(config: KafkaConfig, protocol: Protocol | None = None) -> dict[str, Any]:
    """The configuration for ``confluent_kafka.Consumer``, with secrets in clear text. Raises ConfigurationError.

    ``protocol`` defaults to the first choice of ``protocol_choice``. Does not connect.
    """
    config = config.validate_all()
    protocol = protocol or protocol_choice(config).first
    theirs = _users_mapping(config, without=_PRODUCER_ONLY)
    by_broker = protocol == "consumer"
    refused = sorted(_SET_BY_BROKER & theirs.keys()) if by_broker else []
    if refused:
        raise ConfigurationError(
            f"KafkaConfig.librdkafka: {', '.join(refused)} cannot be set with group.protocol=consumer, "
            "where the broker decides; leave out one or the other"
        )
    if not str(theirs.get("group.id", config.consumer_group)):
        # The client does not refuse it, but aborts the process.
        raise ConfigurationError("KafkaConfig.librdkafka: group.id is empty; leave it out or name a group")
    ours = _connection(config) | _group(config, theirs) | _FETCHING | {"group.protocol": protocol}
    most_bytes = read_ahead_limits(config).max_bytes
    ours["queued.max.messages.kbytes"] = most_bytes // 1024  # of 64 MiB
    # Of 50 MiB: a message that was not compressed keeps its whole response in memory. The client refuses a value that
    # is smaller than the largest message.
    ours["fetch.max.bytes"] = max(most_bytes, _as_number(theirs.get("message.max.bytes")))
    if by_broker:
        ours = {name: value for name, value in ours.items() if name not in _SET_BY_BROKER}
    never = {"enable.auto.commit": False, "enable.auto.offset.store": False}
    return _checked(ours | theirs | never)


def observer_configuration(config: KafkaConfig) -> dict[str, Any]:
    """The configuration of a ``confluent_kafka.Consumer`` that reads about a group and never joins it."""
    configuration = consumer_configuration(config)
    return {name: value for name, value in configuration.items() if name not in _OF_MEMBERS}


def read_ahead_limits(config: KafkaConfig) -> FlowLimits:
    """How much the poll thread may read ahead of the loop's grant, so that it can deliver from every partition."""
    limits = config.parallel_consumer.flow_limits()
    most, least = MOST_READ_AHEAD, _LEAST_READ_AHEAD
    return FlowLimits(
        max_messages=min(max(limits.max_messages * _QUEUES_READ_AHEAD, least.max_messages), most.max_messages),
        max_bytes=min(max(limits.max_bytes // 4, least.max_bytes), most.max_bytes),
    )


def producer_configuration(config: KafkaConfig, output: OutputConfig | None = None) -> dict[str, Any]:
    """The configuration of ``confluent_kafka.Producer`` for dead letters, and for records if there is an ``output``.

    Holds secrets in clear. Raises ConfigurationError.
    """
    config = config.validate_all()
    theirs = _users_mapping(config, without=_CONSUMER_ONLY | _ABOUT_THE_CONSUMER)
    if output is not None:
        theirs |= {_ALIASES.get(name, name): revealed(value) for name, value in output.librdkafka.items()}
    if str(theirs.get("acks")) == "0":
        raise ConfigurationError("KafkaConfig.librdkafka: acks=0 would lose dead letters unseen; use all, or 1")
    if "transactional.id" in theirs:
        raise ConfigurationError(
            "KafkaConfig.librdkafka: transactional.id has no use here, dead letters take no part in transactions"
        )
    # Without reports of success no dead letter would ever count as delivered.
    ours = _DELIVERY if output is None else _DELIVERY | _OUTPUT
    return _checked(_connection(config) | ours | theirs | {"delivery.report.only.error": False})


def transaction_configuration(config: KafkaConfig, output: OutputConfig) -> dict[str, Any]:
    """The settings of a transactional ``confluent_kafka.Producer``; holds secrets in clear.

    Raises ConfigurationError, also if the consumer would read uncommitted records.
    """
    theirs = _users_mapping(config, without=_PRODUCER_ONLY)
    if str(theirs.get("isolation.level", "read_committed")) != "read_committed":
        raise ConfigurationError(
            "KafkaConfig.librdkafka: isolation.level=read_uncommitted does not go with OutputConfig.delivery="
            "exactly_once, which must not write what follows from an aborted record; leave it out"
        )
    instance = theirs.get("group.instance.id")
    prefix = output.transactional_id_prefix or config.consumer_group
    configuration = producer_configuration(config, output)
    # The client bounds it by the transaction's own timeout, and refuses a longer one by name.
    del configuration["message.timeout.ms"]
    longest_ms = output.transaction_timeout_ms
    return configuration | {
        # The client refuses a socket that waits longer than a transaction may last.
        "socket.timeout.ms": min(_as_number(configuration.get("socket.timeout.ms")) or longest_ms, longest_ms),
        "transactional.id": f"{prefix}-{instance or uuid4().hex}",
        "transaction.timeout.ms": output.transaction_timeout_ms,
        "enable.idempotence": True,
        "acks": "all",
    }


def admin_configuration(config: KafkaConfig) -> dict[str, Any]:
    """The configuration for ``confluent_kafka.admin.AdminClient``, with secrets in clear text.

    Raises ConfigurationError.
    """
    config = config.validate_all()
    return _checked(
        _connection(config) | _users_mapping(config, without=_CONSUMER_ONLY | _PRODUCER_ONLY | _ABOUT_THE_CONSUMER)
    )


def admin_configuration_of(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of an admin client that connects like the consumer of this ``configuration``."""
    without = _CONSUMER_ONLY | _PRODUCER_ONLY | _ABOUT_THE_CONSUMER
    return {name: value for name, value in configuration.items() if name not in without}


def is_cooperative(configuration: Mapping[str, Any]) -> bool:
    """Whether a consumer of this configuration is assigned incrementally (``incremental_assign``)."""
    if protocol_of(configuration) == "consumer":
        return True
    strategies = str(configuration.get("partition.assignment.strategy", "range,roundrobin")).split(",")
    return any(strategy.strip() == "cooperative-sticky" for strategy in strategies)


def _connection(config: KafkaConfig) -> dict[str, Any]:
    given = {
        "security.protocol": config.security_protocol,
        "sasl.mechanisms": config.sasl_mechanisms,
        "sasl.username": config.sasl_username,
        "sasl.password": config.sasl_password,
        "ssl.ca.location": config.ssl_ca_location,
        "ssl.certificate.location": config.ssl_certificate_location,
        "ssl.key.location": config.ssl_key_location,
        "ssl.key.password": config.ssl_key_password,
    }
    security = {name: revealed(value) for name, value in given.items() if value is not None}
    return {"bootstrap.servers": ",".join(config.bootstrap_servers)} | _STEADY | security


def _group(config: KafkaConfig, theirs: Mapping[str, Any]) -> dict[str, Any]:
    session_timeout_ms = _as_number(theirs.get("session.timeout.ms")) or config.session_timeout_ms
    return {
        "group.id": config.consumer_group,
        "auto.offset.reset": "error" if config.auto_offset_reset == "none" else config.auto_offset_reset,
        # Partitions that stay with a member are not revoked during a rebalance, so their work goes on.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": session_timeout_ms,
        "heartbeat.interval.ms": max(1, min(_LONGEST_HEARTBEAT_MS, session_timeout_ms // _HEARTBEATS_PER_SESSION)),
        # The client refuses a value below the session timeout.
        "max.poll.interval.ms": max(_POLL_INTERVAL_MS, session_timeout_ms),
    }


def _users_mapping(config: KafkaConfig, *, without: frozenset[str]) -> dict[str, Any]:
    named = {_ALIASES.get(name, name): revealed(value) for name, value in config.librdkafka.items()}
    return {name: value for name, value in named.items() if name not in without}


def _as_number(value: Any) -> int:
    """The number; 0 if it is none: the client then refuses the setting by name."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _checked(configuration: dict[str, Any]) -> dict[str, Any]:
    """The configuration. Raises ConfigurationError if librdkafka would accept it and it cannot work."""
    for name in _LOCATIONS:
        location = configuration.get(name)
        if location and location != "probe" and not Path(str(location)).exists():
            raise ConfigurationError(f"{_shown(name)}: there is no file {str(location)!r}")
    logs_in = any(name in configuration for name in ("sasl.username", "sasl.password"))
    protocol = str(configuration.get("security.protocol", "plaintext")).lower()
    if logs_in and not protocol.startswith("sasl"):
        raise ConfigurationError(
            f"KafkaConfig.sasl_username or sasl_password is set, but security_protocol is {protocol.upper()}, which "
            "does not log in; set it to SASL_SSL (or SASL_PLAINTEXT)"
        )
    if logs_in and "sasl.mechanisms" not in configuration:
        raise ConfigurationError(
            "KafkaConfig.sasl_mechanisms is not set; name the mechanism, for example SCRAM-SHA-512"
        )
    return configuration


def _shown(name: str) -> str:
    field = name.replace(".", "_")
    return f"KafkaConfig.{field}" if field in KafkaConfig.model_fields else f"KafkaConfig.librdkafka[{name!r}]"
