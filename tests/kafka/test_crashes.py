"""kill -9 of a member: nothing is lost, and only what was not committed runs again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from tests.kafka.committed import committed_maps, committed_places
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.deadline import wait_until
from tests.kafka.history import shown
from tests.kafka.journal import read_journals
from tests.kafka.load import Load
from tests.kafka.plain_log import read_log
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster

StartMember = Callable[..., ConsumerProcess]

COMMIT_INTERVAL_MS = 200
# Longer than a commit interval: whenever the kill comes, the last commit knew of messages that were running.
WORK_MS = 300
COOPERATIVE = {"librdkafka": {"partition.assignment.strategy": "cooperative-sticky"}, "session_timeout_ms": 4000}
KIP_848 = {"librdkafka": {"group.protocol": "consumer"}}


each_protocol = pytest.mark.parametrize(
    "protocol", [COOPERATIVE, KIP_848], ids=["cooperative-sticky", "group.protocol=consumer"]
)


@each_protocol
def test_after_a_kill_the_others_take_over_and_run_again_only_what_was_not_committed(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path, protocol: dict[str, Any]
) -> None:
    topic, group = kafka.new_topic(partitions=4), kafka.new_group()
    settings = protocol | {"parallel_consumer": {"commit_interval_ms": COMMIT_INTERVAL_MS}}

    with Load(kafka, topic, keys=200, per_second=300) as load:
        doomed = start_member("doomed", topic, group, kafka=settings, work_ms=WORK_MS)
        doomed.wait_finished(100)
        other = start_member("other", topic, group, kafka=settings, work_ms=WORK_MS)
        other.wait_finished(100)
        finished = read_journals(tmp_path).of("doomed").finished
        wait_until(lambda: finished <= committed_places(kafka, group, topic), "what was finished is committed")
        doomed.kill()
        done = committed_places(kafka, group, topic)
        other.wait_finished(other.finished + 100)
    wait_until(lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end")
    other.stop()

    history = read_journals(tmp_path)
    log = read_log(kafka, topic)
    assert len(log) == load.count
    assert history.finished == set(log)
    again = history.of("doomed").started & history.of("other").started
    assert not again & done, shown(again & done)
    assert history.run_twice == again, shown(history.run_twice - again)
    assert history.order_violations() == []


@each_group_protocol
def test_after_a_kill_what_was_finished_above_stuck_offsets_does_not_run_again(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(partitions=2), kafka.new_group()
    stuck = {0: (0, 3, 500), 1: (700,)}
    for partition in stuck:
        kafka.produce(topic, ((b"%d" % number, b"") for number in range(1_000)), partition=partition)
    expected = {at: OffsetMap(offsets[0], 1_000, offsets, leader_epoch=0) for at, offsets in stuck.items()}

    doomed = start_member(
        "doomed",
        topic,
        group,
        kafka={"session_timeout_ms": 3000, "parallel_consumer": {"commit_interval_ms": COMMIT_INTERVAL_MS}},
        execution={"task_timeout_ms": 0},
        never_finish=[(at, offset) for at, offsets in stuck.items() for offset in offsets],
    )
    doomed.wait_finished(1_996)
    wait_until(lambda: committed_maps(kafka, group, topic) == expected, "the maps tell of all that is finished")
    doomed.kill()
    heir = start_member("heir", topic, group)
    heir.wait_finished(4)
    heir.stop()

    history = read_journals(tmp_path)
    assert history.of("heir").finished == {(topic, at, offset) for at, offsets in stuck.items() for offset in offsets}
    assert history.finished == set(read_log(kafka, topic))
    assert kafka.committed_offsets(group, topic) == {0: 1_000, 1: 1_000}


@each_protocol
def test_a_member_that_froze_past_its_session_moves_nothing_of_its_successor_and_joins_again(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path, protocol: dict[str, Any]
) -> None:
    topic, group = kafka.new_topic(partitions=4), kafka.new_group()
    settings = protocol | {"parallel_consumer": {"commit_interval_ms": COMMIT_INTERVAL_MS}}

    def is_overtaken() -> bool:
        return started <= committed_places(kafka, group, topic)

    with Load(kafka, topic, keys=200, per_second=300) as load:
        frozen = start_member("frozen", topic, group, kafka=settings, work_ms=WORK_MS)
        frozen.wait_finished(100)
        frozen.freeze()
        started = read_journals(tmp_path).started
        other = start_member("other", topic, group, kafka=settings, work_ms=WORK_MS)
        wait_until(is_overtaken, "the other has committed what the frozen one began")
        done = committed_places(kafka, group, topic)
        frozen.thaw()
        frozen.wait_logged("lost")
        assert done <= committed_places(kafka, group, topic)
        frozen.wait_finished(frozen.finished + 100)
    wait_until(lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end")
    frozen.stop()
    other.stop()

    history = read_journals(tmp_path)
    log = read_log(kafka, topic)
    assert len(log) == load.count
    assert history.finished == set(log)
