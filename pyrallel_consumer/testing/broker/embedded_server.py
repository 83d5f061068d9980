"""The process behind ``EmbeddedBroker``: owns librdkafka's mock cluster and obeys commands, one JSON object a line.

It is run as a file, not imported: it knows nothing of the rest of the package and imports nothing of it, so that it
starts in a tenth of a second. Its first line out tells the address (or why there is none); after that each line in
gets exactly one line out. It ends when its standard input does, or when its owner does, whichever is seen first.
The cluster is driven through ctypes (``MockCluster``); where the library cannot be loaded that way, a producer in
mock mode has to do (``PlainCluster``).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, Producer

ERROR_TEXT_BYTES: Final = 512
ALL_BROKERS: Final = -1
FIRST_BROKER: Final = 1
HOST: Final = "127.0.0.1"
PIECE_BYTES: Final = 65536
NO_VERSION: Final = -1
METADATA_TIMEOUT_SECONDS: Final = 10.0
LOG_LEVEL_ERROR: Final = 3

# Group timings of the mock itself: the first assignment comes at once, KIP-848 groups beat often.
FIRST_ASSIGNMENT_DELAY_MS: Final = 0
CONSUMER_GROUP_HEARTBEAT_MS: Final = 150
CONSUMER_GROUP_SESSION_MS: Final = 3000

_handle, _text, _number, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
# Function of librdkafka's C interface → (result, arguments), after rdkafka.h and rdkafka_mock.h.
SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "rd_kafka_conf_new": (_handle, []),
    "rd_kafka_conf_set": (_number, [_handle, _text, _text, _text, _size]),
    "rd_kafka_new": (_handle, [_number, _handle, _text, _size]),
    "rd_kafka_mock_cluster_new": (_handle, [_handle, _number]),
    "rd_kafka_mock_cluster_bootstraps": (_text, [_handle]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_handle, ctypes.c_int32]),
    "rd_kafka_mock_set_group_consumer_heartbeat_interval_ms": (None, [_handle, _number]),
    "rd_kafka_mock_set_group_consumer_session_timeout_ms": (None, [_handle, _number]),
    "rd_kafka_mock_topic_create": (_number, [_handle, _text, _number, _number]),
    "rd_kafka_mock_partition_delete_records": (_number, [_handle, _text, ctypes.c_int32, ctypes.c_int64]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [_handle, ctypes.c_int16, _size, ctypes.POINTER(ctypes.c_int)],
    ),
    "rd_kafka_mock_clear_request_errors": (None, [_handle, ctypes.c_int16]),
    "rd_kafka_mock_set_apiversion": (_number, [_handle, ctypes.c_int16, ctypes.c_int16, ctypes.c_int16]),
    "rd_kafka_mock_broker_set_down": (_number, [_handle, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (_number, [_handle, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_rtt": (_number, [_handle, ctypes.c_int32, _number]),
    "rd_kafka_mock_broker_set_host_port": (_number, [_handle, ctypes.c_int32, _text, _number]),
}


class CommandRefusedError(Exception):
    """The cluster answered a command with an error; ``code`` is Kafka's name of it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class UnboundLibraryError(Exception):
    """ctypes cannot reach the librdkafka that confluent_kafka uses; the message says why."""


class Cluster(Protocol):
    """The command loop's interface to a cluster; its other public methods are the commands."""

    bootstrap_servers: str


def mapped_library() -> str:
    """Path of the librdkafka that this process has loaded; a second copy would know nothing about the first."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        raise UnboundLibraryError(f"the loaded librdkafka cannot be found on {sys.platform}")
    for line in maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) > 5 and Path(fields[5]).name.startswith("librdkafka"):  # noqa: PLR2004 -- the path is the sixth
            return fields[5]
    raise UnboundLibraryError("librdkafka is built into the client, not loaded as a library")


def bound_library() -> ctypes.CDLL:
    """The mapped librdkafka with every function of ``SIGNATURES`` typed; all of them, or none."""
    path = mapped_library()
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise UnboundLibraryError(f"the loaded librdkafka does not offer its mock cluster: {error}") from error
    return library


class MockCluster:
    """A mock cluster of one broker, with chosen partitions and faults on demand. Lives as long as the process."""

    def __init__(self) -> None:
        self._library = library = bound_library()
        text = ctypes.create_string_buffer(ERROR_TEXT_BYTES)
        conf = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(conf, b"log_level", str(LOG_LEVEL_ERROR).encode(), text, ERROR_TEXT_BYTES)
        client = library.rd_kafka_new(0, conf, text, ERROR_TEXT_BYTES)
        cluster = library.rd_kafka_mock_cluster_new(client, 1) if client else None
        if not cluster:
            raise CommandRefusedError(
                f"librdkafka could not make its mock cluster: {text.value.decode(errors='replace')}", "_FAIL"
            )
        self._cluster: int = cluster
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, FIRST_ASSIGNMENT_DELAY_MS)
        library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, CONSUMER_GROUP_HEARTBEAT_MS)
        library.rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster, CONSUMER_GROUP_SESSION_MS)
        self.bootstrap_servers = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def be_found_at(self, port: int) -> None:
        """Have clients connect to this port, and only to it: the cluster itself takes no port of ours."""
        own_port = int(self.bootstrap_servers.rpartition(":")[2])
        try:
            listener = socket.create_server((HOST, port))
        except OSError as error:
            raise CommandRefusedError(f"port {port} cannot be listened on: {error.strerror}", "_FAIL") from error
        code = self._library.rd_kafka_mock_broker_set_host_port(self._cluster, FIRST_BROKER, HOST.encode(), port)
        _check(code, f"the broker cannot be told that its port is {port}")
        threading.Thread(target=forward, args=(listener, own_port), name="forwarder", daemon=True).start()
        self.bootstrap_servers = f"{HOST}:{port}"

    def create_topic(self, name: str, partitions: int) -> None:
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        _check(code, f"topic {name!r} with {partitions} partitions could not be created")

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        code = self._library.rd_kafka_mock_partition_delete_records(
            self._cluster, topic.encode(), partition, before_offset
        )
        _check(code, f"records of {topic!r} [{partition}] before offset {before_offset} could not be deleted")

    def fail_requests(self, api_key: int, codes: list[int]) -> None:
        array = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(codes), array)

    def clear_faults(self, api_key: int) -> None:
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, api_key)

    def withdraw(self, api_key: int, newest_version: int | None) -> None:
        oldest, newest = (NO_VERSION, NO_VERSION) if newest_version is None else (0, newest_version)
        code = self._library.rd_kafka_mock_set_apiversion(self._cluster, api_key, oldest, newest)
        _check(code, f"request {api_key} cannot be withdrawn")

    def set_down(self) -> None:
        _check(self._library.rd_kafka_mock_broker_set_down(self._cluster, ALL_BROKERS), "the broker stays up")

    def set_up(self) -> None:
        _check(self._library.rd_kafka_mock_broker_set_up(self._cluster, ALL_BROKERS), "the broker stays down")

    def set_round_trip_ms(self, round_trip_ms: int) -> None:
        code = self._library.rd_kafka_mock_broker_set_rtt(self._cluster, ALL_BROKERS, round_trip_ms)
        _check(code, "the round trip time cannot be set")


class PlainCluster:
    """A mock cluster behind a producer: topics of 4 partitions, no faults, the first assignment takes 3 s."""

    def __init__(self) -> None:
        self._producer = Producer({"test.mock.num.brokers": 1, "log_level": LOG_LEVEL_ERROR})
        brokers = self._producer.list_topics(timeout=METADATA_TIMEOUT_SECONDS).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def create_topic(self, name: str, partitions: int) -> None:
        topic = self._producer.list_topics(name, timeout=METADATA_TIMEOUT_SECONDS).topics[name]
        if len(topic.partitions) != partitions:
            raise CommandRefusedError(
                f"topic {name!r} has {len(topic.partitions)} partitions, not {partitions}: {topic.error}",
                "INVALID_PARTITIONS",
            )


def forward(listener: socket.socket, port: int) -> None:
    """Hand each connection of ``listener`` on to ``port``, as long as both sides have it open."""
    while True:
        client, _ = listener.accept()
        try:
            broker = socket.create_connection((HOST, port))
        except OSError:  # it was set down
            client.close()
            continue
        for source, target in ((client, broker), (broker, client)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    except OSError:
        pass  # the other side was closed
    for side in (source, target):
        side.close()


def _check(code: int, what: str) -> None:
    if code:
        error = KafkaError(code)
        raise CommandRefusedError(f"{what}: {error.str()}", error.name())


def _say(message: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def open_cluster(*, plain: bool, port: int) -> tuple[Cluster, str]:
    """The best cluster that this librdkafka offers, and the reason if it is a plain one (else empty). ``port``: 0 is
    any.
    """
    if plain:
        return PlainCluster(), "it was asked for"
    try:
        cluster = MockCluster()
    except UnboundLibraryError as why:
        if port:
            raise CommandRefusedError(f"port {port} cannot be had: {why}", "_FAIL") from why
        return PlainCluster(), str(why)
    if port:
        cluster.be_found_at(port)
    return cluster, ""


def answer(cluster: Cluster, line: bytes) -> dict[str, object]:
    """Obey one command: ``{"do": method, ...arguments}``."""
    arguments = json.loads(line)
    command = getattr(cluster, arguments.pop("do"))
    try:
        command(**arguments)
    except CommandRefusedError as refused:
        return {"error": str(refused), "code": refused.code}
    return {}


def die_with(owner_pid: int) -> None:
    """Watch the owner itself too: a process that it forked would keep our standard input open after its death."""
    try:
        owner = os.pidfd_open(owner_pid)
    except ProcessLookupError:
        os._exit(1)
    except (AttributeError, OSError):  # not Linux, or an old kernel: the end of standard input has to do
        return

    def watch() -> None:
        select.select([owner], [], [])
        os._exit(1)

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()


def main(owner_pid: int, *, plain: bool, port: int) -> None:
    """Serve until standard input ends."""
    die_with(owner_pid)
    try:
        cluster, plain_because = open_cluster(plain=plain, port=port)
    except CommandRefusedError as refused:
        _say({"error": str(refused), "code": refused.code})
        os._exit(1)
    hello = {"bootstrap_servers": cluster.bootstrap_servers, "plain_because": plain_because}
    _say(hello)
    for line in sys.stdin.buffer:
        _say(answer(cluster, line))
    # Nothing here needs saving, and taking the cluster down in order costs time and can wait for clients.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), plain=sys.argv[2] == "plain", port=int(sys.argv[3]))
