"""The items that a process was sent, and how many more it should get."""

from __future__ import annotations

from pyrallel_consumer.execution_plane.attempts import Attempt
from pyrallel_consumer.execution_plane.processes.parent.sent_items import MAX_AHEAD, MAX_AHEAD_BYTES, SentItems
from pyrallel_consumer.testing.messages import work_item


def attempt() -> Attempt:
    item = work_item()
    return Attempt(item, item, 0.0)


def filled(count: int, size_bytes: int = 1) -> tuple[SentItems, list[Attempt]]:
    lane = SentItems()
    attempts = [attempt() for _ in range(count)]
    assert lane.add(attempts, [size_bytes] * count, 10.0) == 1
    return lane, attempts


def test_items_end_in_the_order_in_which_they_were_sent() -> None:
    lane, attempts = filled(5)
    assert lane.head == (1, attempts[0])
    assert lane.end_to(2, 11.0) == attempts[:2]
    assert lane.end_to(2, 12.0) == []
    assert (lane.head, len(lane), lane.head_since) == ((3, attempts[2]), 3, 11.0)
    assert lane.end_to(99, 13.0) == attempts[2:]
    assert lane.head is None


def test_what_is_reclaimed_comes_back_in_order_and_numbers_go_on() -> None:
    lane, attempts = filled(5)
    assert lane.reclaim(above=2) == attempts[2:]
    assert len(lane) == 2
    assert lane.add([attempts[2]], [1], 0.0) == 6
    assert lane.end_to(6, 0.0) == [*attempts[:2], attempts[2]]


def test_quick_items_are_sent_in_bulk_and_slow_ones_one_by_one() -> None:
    lane = SentItems()
    for _ in range(50):
        lane.learn(0.000_001)
    assert (lane.room, lane.frame_items) == (MAX_AHEAD, MAX_AHEAD)
    for _ in range(50):
        lane.learn(1.0)
    assert (lane.room, lane.frame_items) == (1, 1)
    lane.add([attempt()], [1], 0.0)
    assert lane.room == 0


def test_large_items_are_sent_ahead_by_their_bytes() -> None:
    lane, _ = filled(1, size_bytes=MAX_AHEAD_BYTES)
    lane.learn(0.000_001)
    assert lane.room == 0
    lane.end_to(1, 0.0)
    assert lane.room > 0


def test_nothing_is_sent_behind_a_slow_item_until_it_has_ended() -> None:
    lane, _ = filled(1)
    lane.is_held = True
    assert lane.room == 0
    lane.end_to(1, 0.0)
    assert lane.room > 0


def test_nothing_is_sent_while_it_is_open_what_a_recall_has_caught() -> None:
    lane, _ = filled(2)
    lane.is_recalled = True
    lane.end_to(2, 0.0)
    assert lane.room == 0


def test_what_is_withdrawn_is_marked_once_and_only_behind_what_has_begun() -> None:
    lane, attempts = filled(5)
    wanted = attempts[1:4]
    assert lane.withdraw(wanted.__contains__, above=2)
    assert [each.is_withdrawn for each in attempts] == [False, False, True, True, False]
    assert not lane.withdraw(wanted.__contains__, above=2)
    assert lane.withdraw(lambda _: True, above=2)
    assert [each.is_withdrawn for each in attempts] == [False, False, True, True, True]
