"""Why a partition is not faster, and for how long it made no progress: at single moments, and by the work manager."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitPolicy
from pyrallel_consumer.control_plane.partitions.slowness import Cause, Slowness, cause_of
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import BlockedBy, OrderingMode, PartitionSnapshot
from pyrallel_consumer.observability.partition_picture import partition_picture
from tests.unit.control_plane.builders import OTHER, TP, assigned, keyed, manager_of, picture_of, run_of


@pytest.mark.parametrize(
    ("waiting", "is_ready", "is_at_work", "is_held_back", "has_free_slots", "expected"),
    [
        (0, False, True, False, True, Cause.STARVED),
        (0, False, False, False, True, Cause.STARVED),
        (0, False, False, False, False, None),
        (0, False, True, True, True, Cause.PAUSED),
        (0, False, False, True, False, Cause.PAUSED),
        (1, True, False, False, True, None),
        (1, True, False, True, False, None),
        (1, False, True, True, True, None),
        (1, False, False, False, True, Cause.BLOCKED),
        (1, False, False, True, False, Cause.BLOCKED),
    ],
)
def test_a_moment_has_one_cause_at_most(  # noqa: PLR0917 -- the columns of the table
    waiting: int, is_ready: bool, is_at_work: bool, is_held_back: bool, has_free_slots: bool, expected: Cause | None
) -> None:
    def cause(*, is_circuit_open: bool) -> Cause | None:
        return cause_of(
            waiting=waiting,
            is_ready=is_ready,
            is_at_work=is_at_work,
            is_held_back=is_held_back,
            is_circuit_open=is_circuit_open,
            has_free_slots=has_free_slots,
        )

    assert cause(is_circuit_open=False) is expected
    assert cause(is_circuit_open=True) is Cause.PAUSED


def test_time_counts_for_the_cause_at_its_beginning() -> None:
    slowness = Slowness()
    for now, cause in ((5.0, Cause.STARVED), (6.0, None), (8.0, Cause.BLOCKED), (8.5, Cause.PAUSED), (9.5, None)):
        slowness.look(now, cause, finished=0, has_unfinished=False)
    assert slowness.seconds == {Cause.STARVED: 1.0, Cause.BLOCKED: 0.5, Cause.PAUSED: 1.0}


def test_time_between_two_assignments_counts_for_nothing() -> None:
    slowness = Slowness()
    slowness.look(1.0, Cause.BLOCKED, finished=0, has_unfinished=True)
    slowness.leave()
    assert slowness.stalled_seconds(50.0) == 0.0
    slowness.look(100.0, Cause.BLOCKED, finished=0, has_unfinished=True)
    slowness.look(101.0, None, finished=0, has_unfinished=True)
    assert slowness.seconds[Cause.BLOCKED] == 1.0
    assert slowness.stalled_seconds(101.0) == 1.0


def test_it_is_stalled_while_something_is_unfinished_and_nothing_finishes() -> None:
    slowness = Slowness()
    assert slowness.stalled_seconds(9.0) == 0.0
    slowness.look(10.0, None, finished=0, has_unfinished=True)
    slowness.look(12.0, None, finished=0, has_unfinished=True)
    assert slowness.stalled_seconds(13.0) == 3.0
    slowness.look(14.0, None, finished=1, has_unfinished=True)
    assert slowness.stalled_seconds(15.0) == 1.0
    slowness.look(16.0, None, finished=1, has_unfinished=False)
    assert slowness.stalled_seconds(16.0) == 0.0


SECONDS = itertools.count(100)
STARVED, PAUSED, BLOCKED, NONE = "starved", "paused", "blocked", ""


def causes(manager: WorkManager, free_slots: int) -> list[str]:
    """For each partition, the cause to which one more second counts in the present state."""
    manager.observe_slowness(float(next(SECONDS)), free_slots=free_slots)
    before = [seconds_of(partition_picture(work, 0.0, ())) for work in manager]
    manager.observe_slowness(float(next(SECONDS)), free_slots=free_slots)
    after = [seconds_of(partition_picture(work, 0.0, ())) for work in manager]
    return [
        "".join(name for name in each if each[name] - was[name] == 1.0) for was, each in zip(before, after, strict=True)
    ]


def seconds_of(picture: PartitionSnapshot) -> dict[str, float]:
    return {
        STARVED: picture.starved_seconds,
        PAUSED: picture.paused_seconds,
        BLOCKED: picture.blocked_seconds,
    }


def test_with_nothing_to_do_a_partition_is_starved_as_long_as_slots_are_free() -> None:
    manager = manager_of(TP)
    assert causes(manager, free_slots=5) == [STARVED]
    manager.add(TP, 1, run_of(keyed(0, "a")))
    assert causes(manager, free_slots=5) == [NONE]  # it is about to start
    [item] = manager.take(1)
    assert causes(manager, free_slots=4) == [STARVED]  # it runs, and more could
    assert causes(manager, free_slots=0) == [NONE]
    manager.succeed([item])
    manager.stop_dispatching([TP])
    assert causes(manager, free_slots=5) == [NONE]


SENDING_AHEAD = WorkPolicy(is_sending_ahead=True)
EITHER = pytest.mark.parametrize("policy", [WorkPolicy(), SENDING_AHEAD], ids=["by one", "sent ahead"])


@EITHER
def test_a_partition_that_merely_waits_for_a_slot_is_not_blocked(policy: WorkPolicy) -> None:
    manager = manager_of(TP, OTHER, policy=policy)
    manager.add(TP, 1, run_of(keyed(0, "aab")))
    assert causes(manager, free_slots=0) == [NONE, NONE]


@EITHER
def test_a_partition_that_has_several_keys_at_work_is_not_blocked_by_what_waits_behind_them(policy: WorkPolicy) -> None:
    manager = manager_of(TP, policy=policy)
    manager.add(TP, 1, run_of(keyed(0, "abababab")))
    manager.take(2)
    assert causes(manager, free_slots=9) == [NONE]


@EITHER
def test_a_partition_all_of_whose_messages_wait_behind_one_key_is_blocked(policy: WorkPolicy) -> None:
    manager = manager_of(TP, OTHER, policy=policy)
    manager.allow_runs(3)
    manager.add(TP, 1, run_of(keyed(0, "aaaaa")))
    manager.take(3)
    assert causes(manager, free_slots=9) == [BLOCKED, STARVED]
    assert causes(manager, free_slots=0) == [BLOCKED, NONE]  # it would be blocked with any number of slots


@EITHER
def test_what_runs_beside_a_key_that_fails_counts_and_the_failing_one_does_not(policy: WorkPolicy) -> None:
    manager = manager_of(TP, policy=policy)
    manager.add(TP, 1, run_of(keyed(0, "abcabc")))
    first, second, _ = manager.take(3)
    manager.note_failing([first])
    assert causes(manager, free_slots=9) == [NONE]  # two others run
    manager.note_failing([first, second])
    assert causes(manager, free_slots=9) == [BLOCKED]


@EITHER
@pytest.mark.parametrize("mode", [OrderingMode.PARTITION, OrderingMode.UNORDERED])
def test_without_an_order_by_key_a_partition_is_blocked_only_where_nothing_of_it_runs(
    policy: WorkPolicy, mode: OrderingMode
) -> None:
    manager = manager_of(TP, policy=replace(policy, ordering=OrderingPolicy(mode)))
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    [item] = manager.take(1)
    if mode is OrderingMode.UNORDERED:
        manager.succeed(manager.take(1))
        assert causes(manager, free_slots=9) == [STARVED]
    else:
        assert causes(manager, free_slots=9) == [NONE]
    manager.note_failing([item])
    assert causes(manager, free_slots=9) == [BLOCKED]


def blocked_by(manager: WorkManager) -> BlockedBy | None:
    return picture_of(manager).blocked_by


@EITHER
def test_a_picture_says_what_the_blocking_offset_waits_for(policy: WorkPolicy) -> None:
    manager = manager_of(TP, policy=policy)
    assert blocked_by(manager) is None
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    assert blocked_by(manager) is BlockedBy.SLOT
    first, _ = manager.take(2)
    assert blocked_by(manager) is BlockedBy.RUNNING
    manager.note_failing([first])
    assert blocked_by(manager) is BlockedBy.RETRY
    manager.note_failing([])
    manager.exhaust(first)
    assert blocked_by(manager) is BlockedBy.HELD
    manager.end([(TP, 1)], is_lost=False)
    manager.note_failing([first])  # its assignment has ended: it keeps nothing of the next one back
    manager.assign(assigned(TP, 2))
    manager.add(TP, 2, run_of(keyed(1, "b")))
    assert blocked_by(manager) is BlockedBy.EARLIER_ASSIGNMENT


@pytest.mark.parametrize("arrival", ["delivered", "put back", "sorted"])
def test_a_message_without_an_order_waits_for_a_slot_until_it_is_started(arrival: str) -> None:
    manager = manager_of(TP)
    manager.add(TP, 1, run_of(keyed(0, "---")))
    if arrival != "delivered":
        manager.cancel(manager.take(1)[0])
    if arrival == "sorted":
        manager.cancel(manager.take(1)[0])  # more is ready than there are slots, so it is put in order
        for item in (items := manager.take(3, 1)):
            manager.cancel(item)
        assert len(items) == 3
    assert blocked_by(manager) is BlockedBy.SLOT
    manager.take(3)
    assert blocked_by(manager) is BlockedBy.RUNNING


def test_a_message_that_waits_for_its_next_attempt_blocks() -> None:
    manager = manager_of(TP)
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [item] = manager.take(1)
    manager.note_failing([item])
    assert causes(manager, free_slots=9) == [BLOCKED]


@pytest.mark.parametrize("reason", ["user", "share"])
def test_a_partition_that_is_not_fetched_is_paused_once_nothing_waits(reason: str) -> None:
    manager = manager_of(TP, OTHER)
    manager.pause(TP, reason)
    assert causes(manager, free_slots=9) == [PAUSED, STARVED]


def test_backpressure_pauses_the_partitions_that_did_not_bring_it_about() -> None:
    manager = manager_of(TP, OTHER, policy=WorkPolicy(limits=FlowLimits(max_messages=3)))
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    assert manager.room == 0
    assert causes(manager, free_slots=0) == [NONE, PAUSED]


def test_under_an_open_circuit_everything_is_paused() -> None:
    policy = WorkPolicy(circuit=CircuitPolicy(failure_share=0.5, window=2, probe_seconds=60.0))
    manager = manager_of(TP, OTHER, policy=policy)
    manager.observe(1.0)
    manager.add(TP, 1, run_of(keyed(0, "abcd")))
    for item in manager.take(3):
        manager.exhaust(item)
    assert manager.circuit.is_open
    assert causes(manager, free_slots=9) == [PAUSED, PAUSED]


def test_counters_go_on_when_a_partition_comes_back() -> None:
    manager = manager_of(TP)
    assert causes(manager, free_slots=1) == [STARVED]
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    manager.succeed(manager.take(2))
    first = picture_of(manager)
    manager.end([(TP, 1)], is_lost=False)
    assert manager.processed == 2
    manager.assign(assigned(TP, 2, start=2))
    manager.add(TP, 2, run_of(keyed(2, "c")))
    manager.succeed(manager.take(1))
    again = picture_of(manager)
    assert (again.finished, again.starved_seconds, manager.processed) == (3, first.starved_seconds, 3)
