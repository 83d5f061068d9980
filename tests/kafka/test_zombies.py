"""A member that stood still or was cut off for longer than its session begins nothing that others have done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proxy import Proxies
from tests.kafka.conftest import node_or_skip
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.deadline import wait_until
from tests.kafka.history import History, shown
from tests.kafka.journal import finished_places, read_journals
from tests.kafka.plain_log import read_log
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import Listener, free_port

StartMember = Callable[..., ConsumerProcess]

pytestmark = pytest.mark.long

PARTITIONS = 4
WORK_MS = 10
PROTOCOLS: dict[str, dict[str, Any]] = {
    "classic": {"partition.assignment.strategy": "cooperative-sticky"},
    "group.protocol=consumer": {"group.protocol": "consumer"},
}
WORKER_PROCESSES = 2
MODES: dict[str, tuple[int, dict[str, Any]]] = {
    "async": (40_000, {"mode": "async", "max_in_flight": 32}),
    "thread": (40_000, {"mode": "thread", "worker_pool_size": 32}),
    "process": (8_000, {"mode": "process", "worker_pool_size": WORKER_PROCESSES}),
    "process-async": (40_000, {"mode": "process", "worker_pool_size": WORKER_PROCESSES, "max_in_flight": 32}),
}
"""How many messages: in this mode they last until the session is over and the other member has begun."""
LEASE_SECONDS = 2.0
SLACK_SECONDS = 1.0
"""Seconds that an overloaded machine may add between a look at the clock and the line in the journal."""


def done_by_others_before(history: History, owner: str, since_ns: int) -> set[tuple[str, int, int]]:
    """The messages that ``owner`` began after ``since_ns`` though another member had finished them."""
    finished_ns: dict[tuple[str, int, int], int] = {}
    for run in history:
        if not run.owner.startswith(owner) and run.is_finished and run.ended_ns is not None:
            finished_ns[run.place] = min(run.ended_ns, finished_ns.get(run.place, run.ended_ns))
    return {
        run.place
        for run in history
        if run.owner.startswith(owner)
        and run.started_ns > since_ns
        and finished_ns.get(run.place, run.started_ns) < run.started_ns
    }


@pytest.mark.parametrize("librdkafka", PROTOCOLS.values(), ids=PROTOCOLS.keys())
@pytest.mark.parametrize(
    "frozen",
    [
        ("async", False),
        ("thread", False),
        ("process", False),
        ("process", True),
        ("process-async", False),
        ("process-async", True),
    ],
    ids=[
        "async",
        "thread",
        "process of which the parent is frozen",
        "process with all its children",
        "async process of which the parent is frozen",
        "async process with all its children",
    ],
)
def test_a_member_that_was_frozen_for_longer_than_its_session_begins_nothing_that_others_have_done(
    kafka: KafkaCluster,
    start_member: StartMember,
    tmp_path: Path,
    librdkafka: dict[str, Any],
    frozen: tuple[str, bool],
) -> None:
    mode, with_children = frozen
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
    messages, execution = MODES[mode]
    kafka.produce_numbered(topic, messages=messages, keys=400)

    def join(name: str) -> ConsumerProcess:
        kafka = {"librdkafka": librdkafka}
        is_async = mode.endswith("async")
        member = start_member(name, topic, group, kafka=kafka, execution=execution, work_ms=WORK_MS, is_async=is_async)
        wait_until(lambda: len(done_by(name)) > 50, f"{name} has begun")
        return member

    def done_by(name: str) -> set[tuple[str, int, int]]:
        return finished_places(tmp_path, name)

    second, first = join("second"), join("first")
    first.freeze(with_children=with_children)
    frozen_ns = time.monotonic_ns()
    its_partitions = {partition for _, partition, _ in done_by("first")}
    before = done_by("second")
    wait_until(
        lambda: sum(place[1] in its_partitions for place in done_by("second") - before) > 300,
        "the second does what was the first's",
    )
    thawed_ns = time.monotonic_ns()
    first.thaw(with_children=with_children)
    wait_until(lambda: len(done_by("first") | done_by("second")) == messages, "all messages are done", 120)
    first.stop()
    second.stop()

    # A process that a freeze hits between its look at the lease and the worker's first line begins that one message.
    frozen_between_look_and_start = (WORKER_PROCESSES if with_children else 0) if mode.startswith("process") else 1
    history = read_journals(tmp_path)
    assert history.finished == set(read_log(kafka, topic))
    again = done_by_others_before(history, "first", thawed_ns)
    assert len(again) <= frozen_between_look_and_start, shown(again)
    held_from_ns = frozen_ns + int((LEASE_SECONDS + SLACK_SECONDS) * 1e9)
    meanwhile = [run for run in history if run.owner.startswith("first") and held_from_ns < run.started_ns < thawed_ns]
    assert not meanwhile, f"{len(meanwhile)} began while their parent was frozen, the first of them {meanwhile[0]}"
    assert "nothing is started until" in first.log


BEHIND = "BEHIND"
SLOW_MESSAGES = 6_000
SLOW: dict[str, Any] = {"execution": {"max_in_flight": 4, "worker_pool_size": 4}, "work_ms": 50}
QUICK: dict[str, Any] = {"execution": {"mode": "async", "max_in_flight": 100}, "work_ms": 5}
"""The slow member still has unfinished messages when the quick one has overtaken it."""


@pytest.fixture(scope="module")
def way() -> Iterator[tuple[KafkaCluster, Proxies, int]]:
    """A broker, and a port that leads to it through a proxy."""
    port, target = free_port(), free_port()
    with Proxies() as proxies:
        proxies.add(BEHIND, port, target)
        for kafka in node_or_skip({}, {BEHIND: Listener(target, port)}):
            yield kafka, proxies, port


@pytest.mark.parametrize("mode", ["async", "process"])
def test_a_member_whose_packets_are_swallowed_for_longer_than_its_session_begins_nothing_that_others_have_done(
    way: tuple[KafkaCluster, Proxies, int],
    start_member: StartMember,
    tmp_path: Path,
    mode: str,
) -> None:
    kafka, proxies, port = way
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
    kafka.produce_numbered(topic, messages=SLOW_MESSAGES, keys=400)

    def join(name: str, bootstrap_servers: str, **values: Any) -> ConsumerProcess:
        to_kafka = {"bootstrap_servers": bootstrap_servers, "librdkafka": PROTOCOLS["group.protocol=consumer"]}
        member = start_member(name, topic, group, kafka=to_kafka, **values)
        wait_until(lambda: len(done_by(name)) > 50, f"{name} has begun")
        return member

    def done_by(name: str) -> set[tuple[str, int, int]]:
        return finished_places(tmp_path, name)

    slow = {"execution": SLOW["execution"] | {"mode": mode}, "work_ms": SLOW["work_ms"]}
    first = join("first", f"127.0.0.1:{port}", **slow)
    second = join("second", kafka.bootstrap_servers, **QUICK)

    def partitions_of_the_second() -> set[int]:
        return {partition for _, partition, _ in done_by("second")}

    wait_until(lambda: len(partitions_of_the_second()) == PARTITIONS // 2, "the second works at its half of the log")
    its_partitions = set(range(PARTITIONS)) - partitions_of_the_second()
    swallowed_ns = time.monotonic_ns()
    proxies.half_open(BEHIND)
    wait_until(
        lambda: sum(place[1] in its_partitions for place in done_by("second")) > 1_000,
        "the second does what was the first's",
    )
    proxies.heal(BEHIND)
    wait_until(lambda: len(done_by("first") | done_by("second")) == SLOW_MESSAGES, "all messages are done", 120)
    first.stop()
    second.stop()

    history = read_journals(tmp_path)
    assert history.finished == set(read_log(kafka, topic))
    again = done_by_others_before(history, "first", swallowed_ns)
    assert not again, shown(again)
    assert "did not answer" in first.log
