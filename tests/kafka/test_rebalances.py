"""Members of a group that come and go under load, each in a process of its own, under each assignment protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer.consumer import CUT_OFF
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.deadline import wait_until
from tests.kafka.history import shown
from tests.kafka.journal import read_journals
from tests.kafka.load import Load
from tests.kafka.plain_log import read_log
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster

StartMember = Callable[..., ConsumerProcess]

PROTOCOLS: dict[str, dict[str, Any]] = {
    "cooperative-sticky": {"partition.assignment.strategy": "cooperative-sticky"},
    "eager range": {"partition.assignment.strategy": "range"},
    "group.protocol=consumer": {"group.protocol": "consumer"},
}
each_protocol = pytest.mark.parametrize("librdkafka", PROTOCOLS.values(), ids=PROTOCOLS.keys())

PARTITIONS = 6


def assert_each_message_ran_once_and_in_order(kafka: KafkaCluster, topic: str, group: str, folder: Path) -> None:
    history = read_journals(folder)
    assert history.finished == set(read_log(kafka, topic))
    assert not history.run_twice, shown(history.run_twice)
    assert history.order_violations() == []
    assert kafka.committed_offsets(group, topic) == kafka.end_offsets(topic)


@each_protocol
def test_members_join_and_leave_under_load_and_each_message_runs_once_in_order(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path, librdkafka: dict[str, Any]
) -> None:
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()

    def join(name: str) -> ConsumerProcess:
        return start_member(name, topic, group, kafka={"librdkafka": librdkafka}, work_ms=40)

    def goes_on(member: ConsumerProcess) -> None:
        member.wait_finished(member.finished + 100)

    with Load(kafka, topic, keys=120, per_second=1_500) as load:
        first = join("first")
        goes_on(first)
        second = join("second")
        goes_on(second)
        third = join("third")
        goes_on(third)
        goes_on(first)
        first.stop()
        goes_on(second)
        goes_on(third)
        second.stop()
        goes_on(third)
    third.wait_finished(load.count - first.finished - second.finished)
    third.stop()

    assert len(read_log(kafka, topic)) == load.count
    assert_each_message_ran_once_and_in_order(kafka, topic, group, tmp_path)


@each_protocol
def test_two_members_that_stop_together_lose_nothing_and_leave_nothing_to_run_twice(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path, librdkafka: dict[str, Any]
) -> None:
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
    kafka.produce_numbered(topic, messages=6_000, keys=120)
    # Work for half a minute: on a busy machine the second needs many seconds before it begins.
    slow = {"kafka": {"librdkafka": librdkafka}, "work_ms": 20, "execution": {"max_in_flight": 4}}
    first = start_member("first", topic, group, **slow)
    first.wait_finished(20)
    second = start_member("second", topic, group, **slow)
    second.wait_finished(100)

    first.terminate()
    second.terminate()

    assert [first.wait(), second.wait()] == [0, 0]
    left = 6_000 - first.finished - second.finished
    assert left > 0, "the two stopped too late for this test"
    third = start_member("third", topic, group, kafka={"librdkafka": librdkafka})
    third.wait_finished(left)
    third.stop()
    assert_each_message_ran_once_and_in_order(kafka, topic, group, tmp_path)


def test_work_that_outlasts_the_grace_of_a_revoke_is_cancelled_and_then_run_by_the_next_owner(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
    kafka.produce_numbered(topic, messages=600, keys=200)
    kip_848 = {"kafka": {"librdkafka": PROTOCOLS["group.protocol=consumer"]}}
    log = read_log(kafka, topic)
    first = start_member(
        "first",
        topic,
        group,
        **kip_848,
        never_finish=[(partition, offset) for _, partition, offset in log],
        execution={"shutdown_drain_timeout_ms": 0},
    )
    wait_until(lambda: len(read_journals(tmp_path).started) == 200, "a message of each key was started")

    second = start_member("second", topic, group, **kip_848)
    second.wait_finished(1)
    first.stop(expected_code=CUT_OFF)
    second.wait_finished(600)
    second.stop()

    history = read_journals(tmp_path)
    assert {run.end for run in history.of("first")} == {"cancelled"}
    assert history.run_twice == history.of("first").started
    assert history.finished == set(log)
    assert history.order_violations() == []


@each_group_protocol
def test_a_static_member_that_comes_back_within_its_session_goes_on_where_it_was(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
    static = {"kafka": {"librdkafka": {"group.instance.id": "the-one"}, "session_timeout_ms": 30_000}}
    kafka.produce_numbered(topic, messages=1_000, keys=100)

    before = start_member("before", topic, group, **static, work_ms=10, execution={"max_in_flight": 20})
    before.wait_finished(100)
    before.stop()
    after = start_member("after", topic, group, **static)
    after.wait_finished(1_000 - before.finished)
    after.stop()

    assert after.finished > 0
    assert_each_message_ran_once_and_in_order(kafka, topic, group, tmp_path)


def test_a_static_member_whose_name_another_takes_ends_with_an_error_that_says_so(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
    static = {"kafka": {"librdkafka": {"group.instance.id": "the-one"}, "session_timeout_ms": 6_000}}
    kafka.produce_numbered(topic, messages=2_000, keys=100)
    slow = {"work_ms": 20, "execution": {"max_in_flight": 20}}

    fenced = start_member("fenced", topic, group, **static, **slow)
    fenced.wait_finished(100)
    heir = start_member("heir", topic, group, **static)

    assert fenced.wait() != 0
    assert "group.instance.id" in fenced.log.splitlines()[-1]
    wait_until(lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end")
    heir.stop()
    assert read_journals(tmp_path).finished == set(read_log(kafka, topic))
