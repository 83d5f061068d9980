"""A real Apache Kafka node (KRaft, broker and controller in one JVM) for tests, benchmarks and `make kafka`.

Owns one JVM, its ports, its data and its log. Stopped, killed or frozen, the node comes back on the same ports with the
same data. The JVM dies with its owner, however that ends: a guardian (a shell that waits for its standard input to
close, which the kernel does when the owner is gone) kills it. The JVM and the guardian are sessions of their own, so a
Ctrl-C reaches the owner alone. A child that the owner forks without exec keeps the guardian's pipe open, and the JVM
alive, until it ends too.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.kafka_jars import CACHE, KafkaUnavailableError
from tests.kafka_jvm import kafka_command, with_archive

NODES = CACHE / "nodes"
START_TIMEOUT_SECONDS = 90
STOP_TIMEOUT_SECONDS = 20
LOG_TAIL_LINES = 15
# Below the range that Linux and others take outgoing connections from: a port stays free while the node restarts.
PORTS = range(20_000, 30_000)
PARTS = 8
_given: set[int] = set()
"""Ports that this process has handed out: nobody may listen on them yet."""
BATCH_HEADER_BYTES = 12
"""Of a batch in a segment: its first offset and the size of what follows."""

SETTINGS: dict[str, str] = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # A topic that a test did not create is a mistake of the test, or the case that it tests.
    "auto.create.topics.enable": "false",
    # One node holds every replica, and few partitions of the internal topics start faster.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Groups: join at once; sessions may be as short as a test likes. KIP-848's are the broker's to set.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "300",
    # Compaction, retention and forgotten transactions within a test's patience.
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # After a kill -9 the controller forgets the old broker sooner: 13 s become 4 s.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "200",
    # Two cores are shared with the tests.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.recovery.threads.per.data.dir": "2",
}


class Seat(NamedTuple):
    """A node's place in a cluster of several. ``voters`` are the controllers' ports by node; a node that is not among
    them is a broker only.
    """

    node_id: int
    voters: Mapping[int, int]
    identity: str


class Listener(NamedTuple):
    """One more port on which the broker listens; clients that come by it are sent to ``advertised_port``."""

    port: int
    advertised_port: int
    protocol: str = "PLAINTEXT"


class KafkaNode:
    """One node; `start()` it or use it as a context manager. Not for several threads at once.

    Args:
        settings: broker settings that are added to, or replace, those above.
        port: of the broker; a free one by default.
        seat: its place among other nodes; alone by default.
        listeners: further ports, by the listener's name in capitals.
        command: of the JVM, without the class to run.
        report: called with one line per step of the start, which takes 5 to 30 seconds.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        seat: Seat | None = None,
        listeners: Mapping[str, Listener] | None = None,
        command: list[str] | None = None,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._settings = SETTINGS | dict(settings or {})
        self._report = report
        self._command = command
        self._broker_port = port or free_port()
        self._seat = seat or Seat(1, {1: free_port()}, new_identity())
        self._listeners = dict(listeners or {})
        self._home = NODES / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._jvm: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._is_frozen = False
        """How often it was killed, stopped or frozen."""

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._broker_port}"

    @property
    def log(self) -> Path:
        """The broker's log; kept after close() until another process makes a node."""
        return self._home / "server.log"

    @property
    def data(self) -> Path:
        return self._home / "data"

    @property
    def pid(self) -> int | None:
        """The JVM's process, None while there is none."""
        return self._jvm.pid if self._jvm else None

    @property
    def is_running(self) -> bool:
        return self._jvm is not None and self._jvm.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts the node and returns when every partition has a leader.

        Raises KafkaUnavailableError when this machine lacks what it takes, RuntimeError when the broker stays down.
        """
        self.launch()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Starts the node and does not wait: a node among others is ready when most of them are there."""
        if self.is_running:
            return
        if self._is_port_taken():
            raise RuntimeError(f"Port {self._broker_port} is taken by another process.")
        command = self._command or with_archive(kafka_command(self._report), _start_and_stop)
        configuration = self._write_configuration()
        if not (self.data / "meta.properties").exists():
            self._report("Formatting the node's storage ...")
            self._format(command, configuration)
        self._report("Starting Apache Kafka ...")
        with self.log.open("ab") as log:
            self._jvm = subprocess.Popen(
                [*command, "kafka.Kafka", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guardian = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -9 "$0"', str(self._jvm.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def stop(self, seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Stops the broker as an operator would, its data kept; kills it when that takes longer."""
        if self._jvm is not None:
            self.thaw()
            self._jvm.terminate()
            try:
                self._jvm.wait(seconds)
            except subprocess.TimeoutExpired:
                self._report(f"The broker did not stop within {seconds:.0f} s and is killed.")
        self.kill()

    def kill(self) -> None:
        """Kills the broker (kill -9), its data kept."""
        if self._jvm is not None:
            self._jvm.kill()
            self._jvm.wait()
            self._jvm = None
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()
            self._guardian = None
        self._is_frozen = False

    def cut_log(self, topic: str, partition: int, offset: int) -> None:
        """Cuts a log at the first batch from ``offset`` on, as if an unclean leader lacked the rest.

        Only while the node does not run; the log must have one segment.
        """
        folder = self.data / f"{topic}-{partition}"
        [segment] = folder.glob("*.log")
        content, at = segment.read_bytes(), 0
        while at < len(content):
            first_offset, size = struct.unpack_from(">qi", content, at)
            if first_offset >= offset:
                break
            at += BATCH_HEADER_BYTES + size
        with segment.open("r+b") as log:
            log.truncate(at)
        # What was written of the log beside it is made again from the log.
        for beside in (*folder.glob("*.*index"), *folder.glob("*.snapshot")):
            beside.unlink()
        (self.data / ".kafka_cleanshutdown").unlink(missing_ok=True)

    def restart(self) -> None:
        """Stops the broker if it runs, and starts it on the same ports with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stops the broker's process in its tracks (SIGSTOP): connections stay open and nothing answers."""
        if self._jvm is not None:
            os.kill(self._jvm.pid, signal.SIGSTOP)
            self._is_frozen = True

    def thaw(self) -> None:
        """Lets a frozen broker go on; does nothing to one that is not frozen."""
        if self._jvm is not None and self._is_frozen:
            os.kill(self._jvm.pid, signal.SIGCONT)
            self._is_frozen = False

    def close(self) -> None:
        """Ends the node for good and removes its data; the log stays."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def wait_ready(self) -> None:
        """Returns when the node answers and every partition has a leader; raises RuntimeError when that never comes."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if not self.is_running or time.monotonic() > deadline:
                state = "is not ready" if self.is_running else "ended"
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
                raise RuntimeError(f"Apache Kafka {state}; the end of its log {self.log}:\n{tail}")
            time.sleep(0.05)

    def _write_configuration(self) -> Path:
        if not self._home.exists():
            _remove_orphans()
            self._home.mkdir(parents=True)
        seat, kinds = self._seat, self._settings["listener.security.protocol.map"]
        listeners = {"PLAINTEXT": Listener(self._broker_port, self._broker_port)} | self._listeners
        bound = {name: at.port for name, at in listeners.items()}
        is_controller = seat.node_id in seat.voters
        if is_controller:
            bound["CONTROLLER"] = seat.voters[seat.node_id]
        settings = self._settings | {
            "process.roles": "broker,controller" if is_controller else "broker",
            "node.id": str(seat.node_id),
            "listeners": _addresses(bound),
            "advertised.listeners": _addresses({name: at.advertised_port for name, at in listeners.items()}),
            "listener.security.protocol.map": ",".join(
                [kinds, *(f"{name}:{at.protocol}" for name, at in self._listeners.items())]
            ),
            "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{port}" for node, port in seat.voters.items()),
            "log.dirs": str(self.data),
        }
        configuration = self._home / "server.properties"
        configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return configuration

    def _format(self, command: list[str], configuration: Path) -> None:
        formatting = [*command, "kafka.tools.StorageTool", "format", "-t", self._seat.identity]
        formatting += ["-c", str(configuration)]
        formatted = subprocess.run(
            formatting, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_SECONDS
        )
        if formatted.returncode != 0:
            raise RuntimeError(f"Kafka could not format its storage: {formatted.stdout}{formatted.stderr}")

    def _is_port_taken(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._broker_port), timeout=1).close()
        except OSError:
            return False
        return True

    def _answers(self) -> bool:
        if not self._is_port_taken():  # spares the client, and its log, a broker that is not there yet
            return False
        try:
            admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
            cluster = admin.list_topics(timeout=2)
        except KafkaException:
            return False
        if len(self._seat.voters) > 1 or self._seat.node_id not in self._seat.voters:
            return self._seat.node_id in cluster.brokers  # others may be away, and lead nothing meanwhile
        partitions = [partition for topic in cluster.topics.values() for partition in topic.partitions.values()]
        return len(cluster.brokers) == 1 and all(partition.leader == 1 for partition in partitions)


def new_identity() -> str:
    """An id for a new cluster."""
    # Kafka refuses an identity that begins with a dash: a leading "k" costs six random bits.
    return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def free_port() -> int:
    """A port of this machine that nobody uses, and that other test processes leave alone."""
    # Tests that run side by side take ports of different parts: one's may be free only while its node restarts.
    ports = PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS :: PARTS]
    while True:
        port = random.SystemRandom().choice(ports)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _start_and_stop(command: list[str]) -> None:
    """Runs a node by this command, which ends with all that it does as it stops."""
    with KafkaNode(command=command) as node:
        node.stop(START_TIMEOUT_SECONDS)


def _remove_orphans() -> None:
    """Removes what nodes of processes that are gone have left."""
    for home in NODES.glob("*-*"):
        try:
            os.kill(int(home.name.split("-")[0]), 0)
        except ProcessLookupError:
            shutil.rmtree(home, ignore_errors=True)
        except PermissionError:
            continue  # somebody else's process is alive


def main() -> None:
    """Runs a node in the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make kafka", description=main.__doc__)
    parser.add_argument("--port", type=int, default=9092, help="the broker's port (default: 9092)")
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that started this in its background ignored it
    try:
        with KafkaNode(port=port, report=lambda line: print(line, flush=True)) as node:
            print(f"Ready: bootstrap servers {node.bootstrap_servers}, log {node.log}. Ctrl-C stops it.", flush=True)
            while node.is_running:
                time.sleep(0.2)
            sys.exit(f"Apache Kafka ended by itself; its log is {node.log}.")
    except KeyboardInterrupt:
        print("Stopped.")
    except (KafkaUnavailableError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
