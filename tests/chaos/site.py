"""The brokers of a chaos run, one or three, their topics, and a proxied way to them for each member.

Members come by listeners that are advertised behind proxies, so each one's network can be broken alone; the run itself
comes by the plain listener. Topics are made by the roles below.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.chaos.kafka_faults import apart, coordinators_active_too_early, unmarked_places
from tests.chaos.plan import EXTRA_SLOT
from tests.chaos.proxy import Proxies
from tests.kafka.told_records import Written, read_written
from tests.kafka_admin import Admins
from tests.kafka_cluster import TIMEOUT_SECONDS, KafkaCluster
from tests.kafka_node import KafkaNode, Listener, Seat, free_port, new_identity

MEMBERS: Final = EXTRA_SLOT + 1
PARTITIONS: Final = 6
MOST_PARTITIONS: Final = 12
ANEW_PARTITIONS: Final = 3
SHOWN: Final = 5
MEMORY_SETTINGS: Final = {
    # Groups forget a member that has died as soon under both protocols.
    "group.consumer.session.timeout.ms": "6000",
    "group.min.session.timeout.ms": "1000",
}


class Topics(NamedTuple):
    """By role: ``work`` is the main one, ``anew`` is deleted and made again, ``unclean`` changes its leader uncleanly.

    ``unclean`` is None where there is one broker.
    """

    work: str
    anew: str
    unclean: str | None

    @property
    def all(self) -> list[str]:
        return [topic for topic in self if topic is not None]


class Site:
    """Starts with ``open``; its owner ends it by closing the stack."""

    def __init__(self, brokers: int) -> None:
        self.proxies = Proxies()
        self.brokers = brokers
        self._wrongly_committed: list[str] = []
        ports = [free_port() for _ in range(brokers)]
        identity, voters = new_identity(), {number + 1: free_port() for number in range(brokers)}
        self._member_ports: list[list[int]] = [[] for _ in range(MEMBERS)]
        self._links: list[tuple[int, int, int]] = []
        copies = str(min(3, brokers))
        settings = MEMORY_SETTINGS | {
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "share.coordinator.state.topic.replication.factor": copies,
        }
        self.nodes = [
            KafkaNode(settings, port=port, seat=Seat(number + 1, voters, identity), listeners=self._listeners())
            for number, port in enumerate(ports)
        ]
        self.bootstrap_servers = ",".join(node.bootstrap_servers for node in self.nodes)

    def _listeners(self) -> dict[str, Listener]:
        listeners = {}
        for member in range(MEMBERS):
            listener = Listener(free_port(), free_port())
            self._member_ports[member].append(listener.advertised_port)
            self._links.append((member, listener.advertised_port, listener.port))
            listeners[f"MEMBER{member}"] = listener
        return listeners

    def open(self, stack: ExitStack) -> Topics:
        """Starts brokers and proxies and makes the topics."""
        stack.enter_context(self.proxies)
        for member, port, target in self._links:
            self.proxies.add(member, port, target)
        for node in self.nodes:
            stack.callback(node.close)
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        self.kafka = KafkaCluster(self.bootstrap_servers)
        self._admins = Admins(self.bootstrap_servers)
        self.topics = Topics(
            self.kafka.new_name("work"),
            self.kafka.new_name("anew"),
            self.kafka.new_name("unclean") if self.brokers > 1 else None,
        )
        self._make(self.topics.work, PARTITIONS)
        self._make(self.topics.anew, ANEW_PARTITIONS)
        if self.topics.unclean:
            self._make_unclean(self.topics.unclean)
        for topic in self.topics.all:
            self._make(f"{topic}.dlq", 1)
        return self.topics

    def make_results(self) -> str:
        """A topic for the records that workers return."""
        name = self.kafka.new_name("results")
        self._make(name, ANEW_PARTITIONS)
        return name

    def bootstrap_of(self, member: int) -> str:
        """Where a member finds the brokers."""
        return ",".join(f"127.0.0.1:{port}" for port in self._member_ports[member])

    def add_partitions(self) -> bool:
        """Adds two partitions to ``work``; returns False if it has enough."""
        topic = self.topics.work
        wanted = len(self.kafka.partitions(topic)) + 2
        if wanted > MOST_PARTITIONS:
            return False
        self._admins.made().create_partitions([NewPartitions(topic, wanted)])[topic].result(TIMEOUT_SECONDS)
        self._wait_led(topic, wanted)
        return True

    def make_anew(self) -> None:
        """Deletes ``anew`` and makes it again."""
        topic = self.topics.anew
        self._admins.made().delete_topics([topic])[topic].result(TIMEOUT_SECONDS)
        self._make(topic, ANEW_PARTITIONS)

    def take_letters(self, *, is_on: bool) -> None:
        """Whether dead-letter topics accept records: if not, their ``min.insync.replicas`` exceeds their replicas."""
        copies = "1" if is_on else str(self.brokers + 1)
        for topic in self.topics.all:
            entry = ConfigEntry("min.insync.replicas", copies, incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ResourceType.TOPIC, f"{topic}.dlq", incremental_configs=[entry])
            self._admins.made().incremental_alter_configs([resource])[resource].result(TIMEOUT_SECONDS)

    def leader_and_follower(self) -> tuple[KafkaNode, KafkaNode]:
        """The nodes of the only partition of ``unclean``."""
        assert self.topics.unclean
        at = self._admins.made().list_topics(self.topics.unclean, timeout=TIMEOUT_SECONDS).topics[self.topics.unclean]
        partition = at.partitions[0]
        [follower] = [replica for replica in partition.replicas if replica != partition.leader]
        return self.nodes[partition.leader - 1], self.nodes[follower - 1]

    def group_state(self, group: str) -> str:
        """The coordinator's view of the group: its state, and each member's partitions."""
        described = self._admins.made().describe_consumer_groups([group])[group].result(TIMEOUT_SECONDS)
        members = [
            f"{member.host} {member.member_id} {[str(at) for at in member.assignment.topic_partitions]}"
            for member in described.members
        ]
        return f"the group is {described.state.name}, its members are {members}"

    def kafka_faults(self) -> list[str]:
        """What the brokers' logs show of Kafka's own faults."""
        told = [fault for node in self.nodes for fault in coordinators_active_too_early(_lines(node.log))]
        return told + self._wrongly_committed

    def read_written(self, results: str) -> Sequence[Written]:
        """As a reader of committed records finds them, less what Kafka committed by its own fault."""
        found = read_written(self.bootstrap_servers, results)
        data = [node.data for node in self.nodes]
        written, twice = apart(found, unmarked_places(data, results, self.kafka.partitions(results)))
        if twice:
            at = ", ".join(f"[{each.partition}] {each.offset}" for each in twice[:SHOWN])
            self._wrongly_committed.append(
                f"{len(twice)} aborted records of {results} were committed, since a broker wrote no marker: {at}, ..."
            )
        return written

    def keep_logs(self, folder: Path) -> None:
        """Copies the brokers' logs."""
        for number, node in enumerate(self.nodes):
            shutil.copyfile(node.log, folder / f"broker-{number}.log")

    def make_group_anew(self, group: str) -> None:
        """Deletes a group that has no members and commits its offsets again, as they were."""
        offsets = [at for topic in self.topics.all for at in self.kafka.committed(group, topic).values()]
        self._retried(lambda: self._admins.made().delete_consumer_groups([group])[group].result(TIMEOUT_SECONDS))
        self.kafka.commit(group, offsets)

    def wait_whole(self) -> None:
        """Returns when every broker runs and every partition is led."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        for topic in self.topics.all:
            self._wait_led(topic, len(self._described(topic)))

    def _make(self, topic: str, partitions: int) -> None:
        copies = min(3, self.brokers)
        config = {"min.insync.replicas": str(min(2, self.brokers))} if not topic.endswith(".dlq") else {}
        new = NewTopic(topic, num_partitions=partitions, replication_factor=copies, config=config)
        self._retried(lambda: self._admins.made().create_topics([new])[topic].result(TIMEOUT_SECONDS))
        self._wait_led(topic, partitions)

    def _make_unclean(self, topic: str) -> None:
        config = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
        new = NewTopic(topic, num_partitions=1, replica_assignment=[[1, 2]], config=config)
        self._admins.made().create_topics([new])[topic].result(TIMEOUT_SECONDS)
        self._wait_led(topic, 1)

    def _described(self, topic: str) -> list[int]:
        return list(self._admins.made().list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic].partitions)

    def _wait_led(self, topic: str, partitions: int) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._is_led(topic, partitions):
            assert time.monotonic() < deadline, f"{topic} has no leaders after {TIMEOUT_SECONDS:.0f} s"
            time.sleep(0.05)

    def _is_led(self, topic: str, partitions: int) -> bool:
        try:
            return len(self.kafka.end_offsets(topic)) == partitions
        except KafkaException:
            return False

    @staticmethod
    def _retried(act: Callable[[], object]) -> None:
        """A topic that was just deleted still exists for a moment, and so does a member that was just killed."""
        for is_last in _tries():
            try:
                act()
            except KafkaException:
                if is_last:
                    raise
                time.sleep(0.2)
            else:
                return


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def _tries(count: int = 75) -> Iterator[bool]:
    for number in range(count):
        yield number == count - 1
