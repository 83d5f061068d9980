"""SIGTERM to a process that consumes: the first drains, the second aborts."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.journal import read_journals
from tests.kafka_cluster import KafkaCluster

StartMember = Callable[..., ConsumerProcess]


def test_sigterm_finishes_what_runs_starts_nothing_more_and_commits(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=1_000, keys=1_000)
    member = start_member("drained", topic, group, work_ms=500, execution={"max_in_flight": 100})
    member.wait_finished(100)

    member.stop()

    runs = read_journals(tmp_path).runs
    assert {run.end for run in runs} == {"finished"}
    assert len(runs) < 1_000
    assert kafka.committed_offsets(group, topic) == {0: len(runs)}


def test_a_second_sigterm_aborts_what_the_first_waits_for(
    kafka: KafkaCluster, start_member: StartMember, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=10, keys=10)
    patient = {"shutdown_drain_timeout_ms": 600_000, "task_timeout_ms": 0}
    member = start_member("aborted", topic, group, never_finish=[(0, 5)], execution=patient)
    member.wait_finished(9)

    member.terminate()
    member.wait_logged("SIGTERM")
    assert member.is_running
    member.terminate()

    assert member.wait() == 128 + signal.SIGTERM
    assert [run.place[2] for run in read_journals(tmp_path) if run.end == "cancelled"] == [5]
    assert kafka.committed_offsets(group, topic) == {0: 5}
    heir = start_member("heir", topic, group)
    heir.wait_finished(1)
    heir.stop()
    assert read_journals(tmp_path).of("heir").started == {(topic, 0, 5)}
    assert kafka.committed_offsets(group, topic) == {0: 10}
