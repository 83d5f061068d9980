"""Load, pauses and pictures: read and unfinished messages, reasons of pauses, the view of operators."""

from __future__ import annotations

from pyrallel_consumer.control_plane.events import (
    Pause,
    Resume,
)
from pyrallel_consumer.control_plane.flow.fair_shares import REVIEWS_BEFORE_PAUSE
from pyrallel_consumer.control_plane.flow.reading_room import COUNTED_PER_SECOND
from pyrallel_consumer.control_plane.offsets.offset_tracker import MOST_GAPS
from pyrallel_consumer.control_plane.partitions.loaded_bytes import EXACT_MESSAGES, MESSAGE_OVERHEAD_BYTES
from pyrallel_consumer.control_plane.policies import FlowLimits, WorkPolicy
from tests.unit.control_plane.builders import (
    OTHER,
    THIRD,
    TP,
    assigned,
    keyed,
    manager_of,
    picture_of,
    run_of,
)


def test_what_is_read_grows_the_load_and_what_is_done_shrinks_it() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of({0: b"key", 1: None}, value=b"x" * 100))
    assert manager.load.size_bytes == 2 * 612 + 3

    manager.succeed(manager.take(1))
    assert manager.load.messages == 1
    assert manager.load.size_bytes >= 612
    manager.observe(0.0)
    assert manager.load.size_bytes == 612


def test_bytes_that_are_done_make_room_without_waiting_for_the_next_look_when_they_are_many() -> None:
    manager = manager_of(policy=WorkPolicy(limits=FlowLimits(max_messages=100, max_bytes=10_000)))
    manager.add(TP, 1, run_of(keyed(0, "abcdefghi"), value=b"x" * 1000))
    assert manager.room == 0
    manager.succeed(manager.take(10)[1:])

    assert manager.room == 5


def test_a_failing_key_blocks_itself_and_what_waits_behind_it() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "aaabb-")))
    a, b, null = manager.take(10)
    manager.note_failing([a])
    assert manager.load.blocked == 3

    manager.exhaust(b)
    manager.exhaust(null)
    manager.note_failing([a])
    assert manager.load.blocked == 6
    manager.note_failing([])
    assert manager.load.blocked == 3


def test_a_full_partition_is_paused_and_resumed_when_it_made_room() -> None:
    manager = manager_of(TP, OTHER, policy=WorkPolicy(limits=FlowLimits(max_messages=20)))
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(15)}))
    for _ in range(REVIEWS_BEFORE_PAUSE):
        assert manager.room == 0
        assert manager.take_pause_changes() == []
        manager.review_shares()
    assert manager.take_pause_changes() == [Pause(TP, 1)]
    assert manager.room == 5
    assert manager.pause_reasons(TP) == ("share",)
    manager.succeed(manager.take(10))
    manager.review_shares()

    assert manager.take_pause_changes() == [Resume(TP, 1)]


def test_fetching_resumes_when_the_last_reason_to_pause_is_gone() -> None:
    manager = manager_of()
    manager.pause(TP, "user")
    manager.pause(TP, "exhausted")
    assert manager.take_pause_changes() == [Pause(TP, 1)]
    assert manager.pause_reasons(TP) == ("exhausted", "user")

    manager.resume(TP, "user")
    manager.resume(TP, "never given")
    assert manager.take_pause_changes() == []
    manager.resume(TP, "exhausted")
    assert manager.take_pause_changes() == [Resume(TP, 1)]
    assert manager.pause_reasons(TP) == ()


def test_a_pause_ends_with_the_assignment_and_is_never_asked_of_a_partition_that_is_gone() -> None:
    manager = manager_of()
    manager.pause(TP, "user")
    manager.end([(TP, 1)], is_lost=True)
    manager.pause(TP, "user")
    assert manager.take_pause_changes() == []
    manager.assign(assigned(TP, epoch=2))

    assert manager.pause_reasons(TP) == ()
    manager.resume(TP, "user")
    assert manager.take_pause_changes() == []


def test_the_picture_says_what_blocks_and_for_how_long() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    items = manager.take(2)
    assert picture_of(manager, now=4.0).blocking_seconds == 0.0
    manager.observe(5.0)
    manager.observe(6.0)
    manager.succeed(items[1:])

    picture = picture_of(manager, now=8.0)
    assert (picture.blocking_offset, picture.blocking_seconds, picture.gap_count) == (0, 3.0, 1)
    assert (picture.queued, picture.in_flight, picture.fetched_offset, picture.load_bytes) == (1, 1, 3, 3 * 513)

    manager.succeed(items[:1])
    assert picture_of(manager, now=9.0).blocking_seconds == 0.0
    manager.observe(9.0)
    assert picture_of(manager, now=9.5).blocking_seconds == 0.5


def test_totals_go_on_counting_across_assignments() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    a, b, _ = manager.take(10)
    manager.succeed([a])
    manager.exhaust(b)
    manager.end([(TP, 1)], is_lost=True)
    manager.assign(assigned(TP, epoch=2))

    assert (manager.processed, manager.failed) == (1, 1)


def test_the_bytes_of_many_messages_are_counted_anew_when_a_part_of_them_is_done_or_now_and_then() -> None:
    count = 4 * EXACT_MESSAGES
    limits = FlowLimits(max_messages=2 * count, max_bytes=1 << 40)
    manager = manager_of(policy=WorkPolicy(limits=limits))
    manager.add(TP, 1, run_of(dict.fromkeys(range(count))))
    items = manager.take(count)
    manager.succeed(items[:1])
    manager.observe(0.0)
    assert manager.load.size_bytes == (count - 1) * MESSAGE_OVERHEAD_BYTES

    manager.succeed(items[1:2])
    manager.observe(0.001)
    assert manager.load.size_bytes == (count - 1) * MESSAGE_OVERHEAD_BYTES
    manager.observe(count / COUNTED_PER_SECOND)
    assert manager.load.size_bytes == (count - 2) * MESSAGE_OVERHEAD_BYTES


def test_gaps_beyond_what_a_map_tells_of_are_not_counted() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(dict.fromkeys(range(0, 4 * MOST_GAPS, 2))))
    assert picture_of(manager).gap_count == MOST_GAPS


def test_the_user_pauses_all_partitions_those_to_come_too_and_resumes_all() -> None:
    manager = manager_of(TP, OTHER)

    manager.pause_all()
    manager.assign(assigned(THIRD, 3))

    assert [manager.pause_reasons(tp) for tp in (TP, OTHER, THIRD)] == [("user",)] * 3
    manager.resume_all()
    assert [manager.pause_reasons(tp) for tp in (TP, OTHER, THIRD)] == [()] * 3
    manager.end([(TP, 1)], is_lost=False)
    manager.assign(assigned(TP, 4))
    assert manager.pause_reasons(TP) == ()


def test_resuming_all_ends_the_pauses_of_exhausted_messages_too() -> None:
    manager = manager_of()
    manager.pause(TP, "exhausted")

    manager.resume_all()

    assert manager.pause_reasons(TP) == ()
