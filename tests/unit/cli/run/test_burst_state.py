"""When a burst is done, by pictures of real work managers."""

from __future__ import annotations

from pyrallel_consumer.cli.run.burst_state import STUCK_AFTER_SECONDS, Burst, BurstState
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import PartitionSnapshot, TopicPartition
from tests.unit.control_plane.builders import OTHER, TP, assigned, manager_of, picture_of


def pictures_of(manager: WorkManager) -> list[PartitionSnapshot]:
    return [picture_of(manager, work.tp) for work in manager]


def look(
    burst: Burst, manager: WorkManager, now: float = 0.0, *, progress: int = 0, is_retrying: bool = False
) -> BurstState:
    return burst.look(pictures_of(manager), progress=progress, is_retrying=is_retrying, now=now)


def committed_up_to(**offsets: int) -> WorkManager:
    """A manager whose partitions ``p0``, ``p1`` of orders were assigned at these committed offsets."""
    manager = WorkManager(WorkPolicy())
    for epoch, (name, offset) in enumerate(offsets.items(), start=1):
        manager.assign(assigned(TopicPartition("orders", int(name[1:])), epoch, offset))
    return manager


def test_nothing_to_read_is_done_at_once() -> None:
    burst = Burst({TP: (0, 0), OTHER: (7, 7)})

    assert burst.is_done
    assert burst.partitions == 2
    assert look(burst, manager_of()) is BurstState.DONE


def test_it_is_done_when_every_partition_is_committed_up_to_its_end_and_not_before() -> None:
    burst = Burst({TP: (0, 10), OTHER: (5, 20)})

    assert look(burst, committed_up_to(p0=10, p1=19)) is BurstState.RUNNING
    assert burst.left == {OTHER: 20}
    assert look(burst, committed_up_to(p0=10, p1=20)) is BurstState.DONE


def test_what_another_member_has_counts_by_what_the_broker_says() -> None:
    burst = Burst({TP: (0, 10), OTHER: (0, 20)})
    mine = committed_up_to(p0=10)

    assert look(burst, mine) is BurstState.RUNNING
    assert burst.elsewhere(pictures_of(mine)) == (OTHER,)
    burst.committed(OTHER, 20)

    assert look(burst, mine) is BurstState.DONE


def test_a_partition_that_came_later_is_not_waited_for() -> None:
    burst = Burst({TP: (0, 10)})
    burst.committed(OTHER, 3)
    burst.log_is(OTHER, 0, 100)

    assert look(burst, committed_up_to(p0=10, p1=0)) is BurstState.DONE


def test_messages_that_came_later_are_not_waited_for() -> None:
    burst = Burst({TP: (0, 10)})
    burst.log_is(TP, 0, 1000)

    assert burst.left == {TP: 10}


def test_what_retention_has_removed_is_not_waited_for() -> None:
    burst = Burst({TP: (0, 10)})
    burst.log_is(TP, 9, 30)
    assert burst.left == {TP: 10}
    burst.log_is(TP, 10, 30)

    assert burst.is_done


def test_a_topic_that_was_created_anew_is_read_to_its_new_end() -> None:
    burst = Burst({TP: (0, 10), OTHER: (0, 10)})
    burst.log_is(TP, 0, 4)
    burst.log_is(OTHER, 0, 0)

    assert burst.left == {TP: 4}


def test_how_many_messages_are_left_is_known_of_what_this_member_has() -> None:
    burst = Burst({TP: (0, 10), OTHER: (0, 20)})

    assert burst.messages_left(pictures_of(committed_up_to(p0=4))) == 6
    assert burst.messages_left(pictures_of(committed_up_to(p0=4, p1=19))) == 7
    assert look(burst, committed_up_to(p0=12)) is BurstState.RUNNING
    assert burst.messages_left(pictures_of(committed_up_to(p0=12))) == 0


class TestStuck:
    """Only paused partitions are left, and nothing moves any more."""

    def test_when_all_that_is_left_is_paused_by_an_exhausted_message_for_a_while(self) -> None:
        burst, manager = Burst({TP: (0, 10)}), manager_of(TP)
        manager.pause(TP, "exhausted")

        assert look(burst, manager, 100.0) is BurstState.RUNNING
        assert look(burst, manager, 100.0 + STUCK_AFTER_SECONDS - 0.1) is BurstState.RUNNING
        assert look(burst, manager, 100.0 + STUCK_AFTER_SECONDS) is BurstState.STUCK

    def test_not_while_messages_end(self) -> None:
        burst, manager = Burst({TP: (0, 10)}), manager_of(TP)
        manager.pause(TP, "exhausted")

        states = {look(burst, manager, float(second), progress=second) for second in range(100)}
        assert states == {BurstState.RUNNING}

    def test_not_while_a_message_waits_for_its_next_attempt(self) -> None:
        burst, manager = Burst({TP: (0, 10)}), manager_of(TP)
        manager.pause(TP, "exhausted")

        assert {look(burst, manager, float(at), is_retrying=True) for at in range(100)} == {BurstState.RUNNING}

    def test_not_while_another_partition_can_go_on(self) -> None:
        burst, manager = Burst({TP: (0, 10), OTHER: (0, 10)}), manager_of(TP, OTHER)
        manager.pause(TP, "exhausted")

        assert {look(burst, manager, float(second)) for second in range(100)} == {BurstState.RUNNING}

    def test_not_for_a_pause_that_ends_by_itself(self) -> None:
        burst, manager = Burst({TP: (0, 10)}), manager_of(TP)
        manager.pause(TP, "user")

        assert {look(burst, manager, float(second)) for second in range(100)} == {BurstState.RUNNING}
