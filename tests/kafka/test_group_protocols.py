"""``group_protocol=auto`` in live groups: brokers that let a group change its protocol, brokers that do not, and fleets
of which only some members ask for the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import KafkaConfig, PyrallelConsumer
from tests.kafka.conftest import node_or_skip
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.deadline import until, wait_until
from tests.kafka.history import shown
from tests.kafka.journal import Journal, journaling_worker, read_journals
from tests.kafka.load import Load
from tests.kafka.plain_log import read_log
from tests.kafka_cluster import KafkaCluster

# Brokers of their own, so all of it runs in one process.
pytestmark = pytest.mark.xdist_group("group protocols")

PARTITIONS = 6
KEYS, PER_SECOND = 120, 600
POLICY = "group.consumer.migration.policy"
# What a fleet may look like before it is upgraded, and after.
COOPERATIVE: dict[str, Any] = {"group_protocol": "classic"}
EAGER: dict[str, Any] = {"librdkafka": {"partition.assignment.strategy": "range"}}
NAMED = {"group.instance.id": "{place}"}
STATIC: dict[str, Any] = {"librdkafka": EAGER["librdkafka"] | NAMED}
AUTO: dict[str, Any] = {}

Join = Callable[..., ConsumerProcess]


@pytest.fixture(scope="module")
def strict_kafka() -> Iterator[KafkaCluster]:
    """A broker whose groups keep the protocol of their first member until the last one has left."""
    yield from node_or_skip({POLICY: "disabled"})


@pytest.fixture(scope="module")
def classic_kafka() -> Iterator[KafkaCluster]:
    """A broker that has the consumer protocol turned off."""
    yield from node_or_skip({"group.coordinator.rebalance.protocols": "classic"})


class Fleet:
    """Members of one group on one broker, under a load; ``check`` says that nothing was lost, doubled or disordered."""

    def __init__(self, kafka: KafkaCluster, folder: Path, processes: ExitStack) -> None:
        self.kafka = kafka
        self.topic, self.group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
        self._folder = folder
        self._processes = processes

    def join(self, name: str, settings: dict[str, Any], **more: Any) -> ConsumerProcess:
        place = name.partition("-")[0]  # a static member's name outlives its processes
        librdkafka = {key: value.format(place=place) for key, value in settings.get("librdkafka", {}).items()}
        to_kafka = {
            "bootstrap_servers": self.kafka.bootstrap_servers,
            "consumer_group": self.group,
            **settings,
            "librdkafka": librdkafka,
        }
        member = ConsumerProcess(self._folder, name, self.topic, to_kafka, **{"work_ms": 20, **more})
        return self._processes.enter_context(member)

    def load(self) -> Load:
        return Load(self.kafka, self.topic, keys=KEYS, per_second=PER_SECOND)

    def wait_done(self) -> None:
        """Everything is committed; new commits are read until that is so."""
        ends = self.kafka.end_offsets(self.topic)
        wait_until(lambda: self.kafka.committed_offsets(self.group, self.topic) == ends, "the commits reach the end")

    def check(self) -> None:
        history = read_journals(self._folder)
        assert history.finished == set(read_log(self.kafka, self.topic))
        assert not history.run_twice, shown(history.run_twice)
        assert history.order_violations() == []


@pytest.fixture
def new_fleet(tmp_path: Path) -> Iterator[Callable[[KafkaCluster], Fleet]]:
    with ExitStack() as processes:
        yield lambda kafka: Fleet(kafka, tmp_path, processes)


def goes_on(*members: ConsumerProcess) -> None:
    for member in members:
        member.wait_finished(member.finished + 50)


def protocols_of(member: ConsumerProcess) -> list[str]:
    """The group protocols that it logged, in order."""
    said = [line.partition("the group protocol is ")[2] for line in member.log.splitlines()]
    return [words.partition(":")[0] for words in said if words]


@pytest.mark.parametrize(
    ("old", "new", "protocols"),
    [
        (EAGER, AUTO, {"consumer"}),
        # The broker refuses to lose what librdkafka's cooperative-sticky members tell each other. They do so from their
        # second rebalance on, and how many there were by now is the broker's choice.
        (COOPERATIVE, AUTO, {"classic", "consumer"}),
        (STATIC, {"librdkafka": NAMED}, {"consumer"}),
    ],
    ids=["range", "cooperative-sticky", "static members"],
)
def test_a_rolling_upgrade_of_a_live_classic_group_and_its_way_back_lose_and_double_nothing(
    kafka: KafkaCluster,
    new_fleet: Callable[[KafkaCluster], Fleet],
    old: dict[str, Any],
    new: dict[str, Any],
    protocols: set[str],
) -> None:
    fleet = new_fleet(kafka)
    with fleet.load():
        first = fleet.join("first-old", old)
        goes_on(first)
        second = fleet.join("second-old", old)
        goes_on(first, second)

        first.stop()
        first = fleet.join("first-new", new)
        goes_on(first, second)
        second.stop()
        second = fleet.join("second-new", new)
        goes_on(first, second)
        assert {protocols_of(member)[-1] for member in (first, second)} <= protocols

        first.stop()
        first = fleet.join("first-back", old)
        goes_on(first, second)
        second.stop()
        second = fleet.join("second-back", old)
        goes_on(first, second)
    fleet.wait_done()
    first.stop()
    second.stop()
    fleet.check()


def test_on_a_broker_that_keeps_protocols_apart_an_upgrade_is_done_when_the_last_classic_member_has_left(
    strict_kafka: KafkaCluster, new_fleet: Callable[[KafkaCluster], Fleet]
) -> None:
    fleet = new_fleet(strict_kafka)
    with fleet.load():
        old = fleet.join("old", COOPERATIVE)
        goes_on(old)
        first = fleet.join("first-new", AUTO)
        goes_on(old, first)
        assert protocols_of(first) == ["consumer", "classic"]
        assert POLICY in first.log

        old.stop()
        second = fleet.join("second-new", AUTO)
        goes_on(first, second)
        assert protocols_of(second)[-1] == "classic"
        first.stop()
        second.stop()

        # Nobody of the group is left: whoever comes now finds it empty.
        third = fleet.join("third-new", AUTO)
        goes_on(third)
        assert protocols_of(third) == ["consumer"]
        refused = fleet.join("way-back", COOPERATIVE)
        assert refused.wait() != 0
        assert "INCONSISTENT_GROUP_PROTOCOL" in refused.log
        assert POLICY in refused.log
        goes_on(third)
    fleet.wait_done()
    third.stop()
    fleet.check()


SHORT: dict[str, Any] = {"session_timeout_ms": 3000}


@pytest.mark.parametrize(
    ("classic", "came_first"),
    [(SHORT | EAGER, "old"), (SHORT, "new")],
    ids=["range, then auto", "auto, then cooperative-sticky"],
)
def test_in_a_mixed_fleet_members_of_either_kind_come_go_and_are_killed(
    kafka: KafkaCluster,
    new_fleet: Callable[[KafkaCluster], Fleet],
    tmp_path: Path,
    classic: dict[str, Any],
    came_first: str,
) -> None:
    fleet = new_fleet(kafka)
    kinds = {"old": classic, "new": AUTO}
    members: list[ConsumerProcess] = []
    with fleet.load():
        for name in sorted(kinds, key=lambda name: name != came_first):
            members.append(fleet.join(name, kinds[name]))
            goes_on(*members)
        doomed_old, doomed_new = fleet.join("doomed-old", classic), fleet.join("doomed-new", AUTO)
        goes_on(*members, doomed_old, doomed_new)
        doomed_old.kill()
        doomed_new.kill()
        goes_on(*members)
    fleet.wait_done()
    for member in members:
        member.stop()

    spoken = {member.name: protocols_of(member)[-1] for member in (*members, doomed_old, doomed_new)}
    assert spoken == {"old": "classic", "new": "consumer", "doomed-old": "classic", "doomed-new": "consumer"}
    history = read_journals(tmp_path)
    assert history.finished == set(read_log(kafka, fleet.topic))
    killed = history.of("doomed-old").started | history.of("doomed-new").started
    assert history.run_twice <= killed, shown(history.run_twice - killed)
    assert history.order_violations() == []


@pytest.mark.parametrize("settings", [AUTO, {"group_protocol": "classic"}], ids=["auto", "classic"])
def test_a_static_member_that_was_killed_takes_its_place_again_at_once(
    kafka: KafkaCluster, new_fleet: Callable[[KafkaCluster], Fleet], settings: dict[str, Any], tmp_path: Path
) -> None:
    fleet = new_fleet(kafka)
    # No test waits out this session of the broker's, and none of classic's 45 s.
    static = settings | {"librdkafka": {"group.instance.id": "the-one"}}
    with fleet.load():
        killed = fleet.join("killed", static)
        goes_on(killed)
        killed.kill()
        heir = fleet.join("heir", static)
        goes_on(heir)
    fleet.wait_done()
    heir.stop()

    history = read_journals(tmp_path)
    assert history.finished == set(read_log(kafka, fleet.topic))
    assert history.run_twice <= history.of("killed").started
    # With auto an heir that comes before its ancestor's session is over goes on as classic.
    assert protocols_of(heir)[-1] in {"classic", settings.get("group_protocol", "consumer")}


async def test_a_broker_with_the_consumer_protocol_turned_off_serves_auto_with_classic(
    classic_kafka: KafkaCluster, journal: Journal
) -> None:
    topic, group = classic_kafka.new_topic(partitions=PARTITIONS), classic_kafka.new_group()
    classic_kafka.produce_numbered(topic, messages=300, keys=30)
    config = KafkaConfig(bootstrap_servers=classic_kafka.bootstrap_servers, consumer_group=group)

    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until(lambda: journal.finished == 300, "all messages were worked on")
    assert consumer.get_runtime_snapshot().settings["group_protocol"] == "classic"
    assert classic_kafka.committed_offsets(group, topic) == classic_kafka.end_offsets(topic)
