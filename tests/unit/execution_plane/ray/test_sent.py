"""The items that an actor was sent: which may have run when it dies, and how many more it should get."""

from __future__ import annotations

from pyrallel_consumer.execution_plane.attempts import Attempt
from pyrallel_consumer.execution_plane.ray.sent import MAX_AHEAD, SentToActor
from pyrallel_consumer.testing.messages import work_item


def attempts(count: int) -> list[Attempt]:
    return [Attempt(item, item, 0.0) for item in (work_item(b"", offset=offset) for offset in range(count))]


def test_numbers_count_up_over_all_frames() -> None:
    sent = SentToActor(2)
    assert sent.add(attempts(3), 0.0) == 1
    assert sent.add(attempts(2), 0.0) == 4
    assert len(sent) == 5


def test_what_ended_is_told_once_and_unknown_numbers_are_passed_over() -> None:
    sent = SentToActor(2)
    first, second, third = attempts(3)
    sent.add([first, second, third], 0.0)
    assert sent.end_all([2, 9], 1.0) == [second]
    assert sent.end_all([2], 1.0) == []
    assert (sent.at(1), sent.at(2)) == (first, None)


def test_only_as_many_as_run_at_once_may_have_run_when_it_dies() -> None:
    sent = SentToActor(2)
    all_of_them = attempts(5)
    sent.add(all_of_them, 0.0)
    sent.end_all([1], 1.0)
    ran, others = sent.taken_back()
    assert ran == all_of_them[1:3]
    assert others == all_of_them[3:]
    assert len(sent) == 0


def test_what_told_that_it_began_has_run_whatever_its_place() -> None:
    sent = SentToActor(1)
    all_of_them = attempts(4)
    sent.add(all_of_them, 0.0)
    assert sent.begin(3, 5.0) is all_of_them[2]
    assert all_of_them[2].started_at == 5.0
    assert sent.begin(9, 5.0) is None
    assert [attempt for _, attempt in sent.unbegun()] == [all_of_them[0], all_of_them[1], all_of_them[3]]
    ran, others = sent.taken_back()
    assert ran == [all_of_them[0], all_of_them[2]]
    assert others == [all_of_them[1], all_of_them[3]]


def test_a_slow_actor_is_sent_what_it_runs_and_a_quick_one_more() -> None:
    slow, quick = SentToActor(4), SentToActor(4)
    for sent, seconds in ((slow, 1.0), (quick, 1e-6)):
        now = 0.0
        for _ in range(20):
            first = sent.add(attempts(1), now)
            now += seconds
            sent.end_all([first], now)
    assert slow.room == 4
    assert 1000 < quick.room <= 4 + MAX_AHEAD
    slow.add(attempts(6), 0.0)
    assert (slow.room, slow.load) == (0, 1.5)


def test_with_what_may_be_deadly_an_actor_is_sent_only_what_it_can_begin() -> None:
    sent = SentToActor(2)
    sent.seconds_each = 1e-6
    sent.add(attempts(1), 0.0)
    assert sent.close_room == 1
    sent.add(attempts(1), 0.0, is_close=True)
    assert (sent.room, sent.close_room) == (0, 0)
    sent.end_all([1], 1e-6)
    assert sent.room == 1
    sent.end_all([2], 2e-6)
    assert sent.room > 2


def test_what_waits_behind_slow_items_is_named_and_no_more_is_sent_ahead() -> None:
    sent = SentToActor(1)
    sent.add(attempts(4), 0.0)
    sent.begin(1, 0.0)
    assert sent.ahead_of_slow(0.1) == []
    assert sent.ahead_of_slow(1.0) == [2, 3, 4]
    sent.end_all([2, 3, 4], 1.0)
    assert sent.room == 0


def test_an_actor_that_runs_all_it_was_sent_is_not_slow() -> None:
    sent = SentToActor(4)
    sent.add(attempts(4), 0.0)
    assert sent.ahead_of_slow(100.0) == []
