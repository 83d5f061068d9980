"""The items that a process was sent, and how many more it should get."""

from __future__ import annotations

from pyrallel_consumer.execution_plane.attempts import Attempt
from pyrallel_consumer.execution_plane.processes.parent.members.sent_items import MAX_AHEAD, MAX_AHEAD_BYTES, SentItems
from pyrallel_consumer.testing.messages import work_item


def attempt() -> Attempt:
    item = work_item()
    return Attempt(item, item, 0.0)


def filled(count: int, size_bytes: int = 1) -> tuple[SentItems, list[Attempt]]:
    sent = SentItems()
    attempts = [attempt() for _ in range(count)]
    assert sent.add(attempts, [size_bytes] * count, 10.0) == 1
    return sent, attempts


def test_items_end_in_the_order_in_which_they_were_sent() -> None:
    sent, attempts = filled(5)
    assert sent.head == (1, attempts[0])
    assert sent.end_to(2, 11.0) == attempts[:2]
    assert sent.end_to(2, 12.0) == []
    assert (sent.head, len(sent), sent.head_since) == ((3, attempts[2]), 3, 11.0)
    assert sent.end_to(99, 13.0) == attempts[2:]
    assert sent.head is None


def test_what_is_reclaimed_comes_back_in_order_and_numbers_go_on() -> None:
    sent, attempts = filled(5)
    assert sent.reclaim(above=2) == attempts[2:]
    assert len(sent) == 2
    assert sent.add([attempts[2]], [1], 0.0) == 6
    assert sent.end_to(6, 0.0) == [*attempts[:2], attempts[2]]


def test_quick_items_are_sent_in_bulk_and_slow_ones_one_by_one() -> None:
    sent = SentItems()
    for _ in range(50):
        sent.learn(0.000_001)
    assert (sent.room, sent.frame_items) == (MAX_AHEAD, MAX_AHEAD)
    for _ in range(50):
        sent.learn(1.0)
    assert (sent.room, sent.frame_items) == (1, 1)
    sent.add([attempt()], [1], 0.0)
    assert sent.room == 0


def test_large_items_are_sent_ahead_by_their_bytes() -> None:
    sent, _ = filled(1, size_bytes=MAX_AHEAD_BYTES)
    sent.learn(0.000_001)
    assert sent.room == 0
    sent.end_to(1, 0.0)
    assert sent.room > 0


def test_nothing_is_sent_behind_a_slow_item_until_it_has_ended() -> None:
    sent, _ = filled(1)
    sent.is_held = True
    assert sent.room == 0
    sent.end_to(1, 0.0)
    assert sent.room > 0


def test_nothing_is_sent_while_it_is_open_what_a_recall_has_caught() -> None:
    sent, attempts = filled(2)
    assert sent.recall() == 1
    sent.end_to(1, 0.0)
    assert sent.room == 0
    assert sent.reclaim(above=1) == attempts[1:]
    assert sent.room > 0


def test_what_is_withdrawn_is_marked_once_and_only_behind_what_has_begun() -> None:
    sent, attempts = filled(5)
    wanted = attempts[1:4]
    assert sent.withdraw(wanted.__contains__, above=2)
    assert [each.is_withdrawn for each in attempts] == [False, False, True, True, False]
    assert not sent.withdraw(wanted.__contains__, above=2)
    assert sent.withdraw(lambda _: True, above=2)
    assert [each.is_withdrawn for each in attempts] == [False, False, True, True, True]
