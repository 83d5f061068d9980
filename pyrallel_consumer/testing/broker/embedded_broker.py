"""A Kafka broker inside the machine, for the demo and the tests: librdkafka's mock cluster in a process of its own.

Any Kafka client of any process can use it, through ``bootstrap_servers``. It keeps everything in memory, about 5 MB (as
sent: compression stretches it) of each partition, and silently drops older messages. Groups (range, cooperative-sticky,
``group.protocol=consumer``), commits with metadata, headers, compression and watermarks work. Transactions, time
lookups, static members, the admin client and limits on commit metadata do not: test these on a real Kafka. A classic
group also loses some of its last commits. A follower that syncs after its leader is refused and joins again, and
meanwhile commits are refused. So messages that a member has just finished may run again at the next owner. With
``group.protocol=consumer`` that does not happen. The broker's process always ends with its owner's.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError

from pyrallel_consumer.errors import ConfigurationError, StateError
from pyrallel_consumer.testing.broker.embedded_process import ServerProcess

# Requests that the mock cluster can be told to refuse, by their names in Kafka's protocol, with their keys.
API_KEYS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "produce": 0,
        "fetch": 1,
        "list_offsets": 2,
        "metadata": 3,
        "offset_commit": 8,
        "offset_fetch": 9,
        "find_coordinator": 10,
        "join_group": 11,
        "heartbeat": 12,
        "leave_group": 13,
        "sync_group": 14,
        "init_producer_id": 22,
        "consumer_group_heartbeat": 68,
    }
)
# Joins and leaves of classic groups wait for the session timeout less a second; below 3 s members are lost for nothing.
CLIENT_SETTINGS: Final[Mapping[str, int]] = MappingProxyType({"session.timeout.ms": 3000, "heartbeat.interval.ms": 150})
PLAIN_PARTITIONS: Final = 4
TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class EmbeddedBroker:
    """One broker on a port of its own, from ``start`` to ``stop``; also ``with`` and ``async with``.

    ``topics`` maps names to partition counts; other topics appear with 4 partitions when somebody produces to
    them. Methods may be called from any thread. Where the mock cluster cannot be driven (other systems than Linux),
    and with ``plain=True``, the broker takes its plain form: topics of 4 partitions, no faults, and a first
    assignment that takes 3 s. An object serves once: for another broker make another object. ``port`` is the one on
    127.0.0.1 that clients find it at, by default a free one; the plain form chooses its own.

    Every method but the constructor raises ``StateError`` when the broker is not running, and ``BrokerError``
    when the broker refuses, or when its process died; then the error carries what that process wrote last.
    """

    def __init__(self, topics: Mapping[str, int] | None = None, *, plain: bool = False, port: int = 0) -> None:
        if port and plain:
            raise ConfigurationError(f"port={port}: the plain form of EmbeddedBroker has a port of its own choice")
        self._topics = dict(topics or {})
        for name, partitions in self._topics.items():
            _check_topic(name, partitions)
        self._plain = plain
        self._port = port
        self._lock = threading.Lock()
        self._server: ServerProcess | None = None
        self._is_over = False

    def start(self) -> None:
        """Start the broker and create its topics; returns when clients can connect, usually after 0.1 s.

        Raises:
            StateError: it was started before.
            ConfigurationError: a topic has other than 4 partitions, and the broker has its plain form.
        """
        with self._lock:
            if self._server is not None or self._is_over:
                raise StateError("this EmbeddedBroker was started before; make a new one")
            self._server = ServerProcess(plain=self._plain, port=self._port)
        try:
            for name, partitions in self._topics.items():
                self.create_topic(name, partitions)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker and forget all it holds; no effect when it was stopped before."""
        with self._lock:
            if self._server is None and not self._is_over:
                raise StateError("this EmbeddedBroker was never started")
            self._end()

    @property
    def bootstrap_servers(self) -> str:
        """Address for the clients' ``bootstrap.servers``."""
        return self._running().bootstrap_servers

    @property
    def client_settings(self) -> Mapping[str, int]:
        """Settings of librdkafka that make a consumer join and leave a group quickly here (in 2 s).

        Leave them out with ``group.protocol=consumer``: the client refuses them, and the broker is quick by itself.
        """
        return CLIENT_SETTINGS

    @property
    def is_plain(self) -> bool:
        """Whether the broker took its plain form: 4 partitions, no faults."""
        return bool(self._running().plain_because)

    @property
    def pid(self) -> int:
        """Id of the broker's process."""
        return self._running().pid

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic; refused with code ``TOPIC_ALREADY_EXISTS`` when there is one of that name."""
        _check_topic(name, partitions)
        if partitions != PLAIN_PARTITIONS and self.is_plain:
            raise ConfigurationError(
                f"topic {name!r}: partitions must be {PLAIN_PARTITIONS}, not {partitions}: {self._plain_form()}"
            )
        self._ask("create_topic", name=name, partitions=partitions)

    def fail_requests(self, api: int | str, errors: Sequence[int | str]) -> None:
        """Answer the next requests of a kind with these errors, one each, in order; 0 lets one through.

        ``api`` is a name of ``API_KEYS`` or a key, an error its number or Kafka's name for it. ``_TRANSPORT`` cuts
        the connection instead of answering. Adds to earlier calls.
        """
        self._inject("fail_requests", api_key=_api_key(api), codes=[_error_code(error) for error in errors])

    def clear_faults(self, api: int | str) -> None:
        """Forget the errors that ``fail_requests`` still holds for this kind of request."""
        self._inject("clear_faults", api_key=_api_key(api))

    def withdraw(self, api: int | str, *, newest_version: int | None = None) -> None:
        """Know no requests of a kind, as a broker does that is too old for them. Clients hear it when they connect.

        With ``newest_version`` it knows that version of them and older ones.
        """
        self._inject("withdraw", api_key=_api_key(api), newest_version=newest_version)

    def set_down(self) -> None:
        """Cut all connections and accept no new ones until ``set_up``; groups and records stay."""
        self._inject("set_down")

    def set_up(self) -> None:
        """Accept connections again."""
        self._inject("set_up")

    def set_round_trip_ms(self, round_trip_ms: int) -> None:
        """Delay every answer by this many milliseconds; 0 ends it."""
        if round_trip_ms < 0:
            raise ConfigurationError(f"round_trip_ms must be 0 or more, not {round_trip_ms}")
        self._inject("set_round_trip_ms", round_trip_ms=round_trip_ms)

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Let the partition's log begin at ``before_offset``, as retention would."""
        self._inject("delete_records", topic=topic, partition=partition, before_offset=before_offset)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self.start)
        except asyncio.CancelledError:
            await asyncio.to_thread(self._give_up)  # the thread that starts it cannot be cancelled
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _give_up(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._is_over = True
        if self._server is not None:
            self._server.close()
            self._server = None

    def _running(self) -> ServerProcess:
        server = self._server
        if server is None:
            raise StateError(
                "this EmbeddedBroker was stopped" if self._is_over else "this EmbeddedBroker is not started yet"
            )
        return server

    def _ask(self, command: str, **arguments: object) -> None:
        with self._lock:
            self._running().ask(command, arguments)

    def _inject(self, command: str, **arguments: object) -> None:
        if self.is_plain:
            raise StateError(f"{command} is not possible: {self._plain_form()}")
        self._ask(command, **arguments)

    def _plain_form(self) -> str:
        return f"this EmbeddedBroker has its plain form ({self._running().plain_because})"


def _check_topic(name: str, partitions: int) -> None:
    if not TOPIC_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name for a topic: 1 to 249 letters, digits, dots, underscores and hyphens"
        )
    if partitions < 1:
        raise ConfigurationError(f"topic {name!r}: partitions must be 1 or more, not {partitions}")


def _api_key(api: int | str) -> int:
    if isinstance(api, int):
        return api
    if api not in API_KEYS:
        raise ConfigurationError(f"{api!r} is none of the requests that can be refused: {', '.join(API_KEYS)}")
    return API_KEYS[api]


def _error_code(error: int | str) -> int:
    if isinstance(error, int):
        return error
    code = getattr(KafkaError, error, None)
    if not isinstance(code, int):
        raise ConfigurationError(
            f"{error!r} is no error of Kafka or librdkafka; names are those of confluent_kafka.KafkaError"
        )
    return code
