"""The queue of dead letters: the order and bound of what goes out, ended assignments, and what is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.failures.letter import Letter
from pyrallel_consumer.control_plane.failures.letter_queue import REMIND_SECONDS, LetterNotice, LetterPolicy, NoticeKind
from tests.unit.control_plane.failures.letter_desk import DOWN, POLICY, TOO_LARGE, Desk, letter


def test_letters_go_out_in_order_up_to_the_bound_and_go_on_with_each_acknowledgement() -> None:
    desk, letters = Desk(), [letter(offset) for offset in range(5)]
    desk.add(*letters)

    assert desk.take() == letters[:3]
    assert desk.take() == []
    desk.queue.acknowledged(letters[1])
    assert desk.take() == [letters[3]]
    assert (len(desk.queue), desk.queue.sent, desk.next_at()) == (4, 1, None)


def test_letters_of_ended_assignments_are_dropped_where_they_wait_and_not_where_they_are_under_way() -> None:
    desk, letters = Desk(), [letter(offset) for offset in range(7)]
    desk.add(*letters[:3])
    desk.take()
    desk.fail(0.0, TOO_LARGE, letters[0])
    desk.queue.acknowledged(letters[2])
    desk.fail(0.0, "POLICY_VIOLATION", letters[1])
    desk.fail(0.0, "POLICY_VIOLATION", *desk.take())
    desk.fail(0.0, "POLICY_VIOLATION", *desk.take())
    desk.add(*letters[3:])
    assert desk.take() == letters[3:6]
    desk.ended.update(each.item for each in (letters[0], letters[1], letters[3]))

    desk.queue.drop_ended(desk.is_current)

    assert (len(desk.queue), desk.queue.dropped) == (4, 2)
    for each in letters[3:6]:
        desk.queue.acknowledged(each)
    assert desk.take(9.0) == letters[6:]


def test_a_letter_whose_assignment_ended_while_it_was_under_way_is_not_sent_again() -> None:
    desk, a = Desk(), letter(0)
    desk.add(a)
    desk.take()
    desk.ended.add(a.item)
    desk.fail(0.0, DOWN, a)

    assert desk.take(1.0) == []
    assert (len(desk.queue), desk.next_at()) == (0, None)


def test_letters_are_coming_while_their_topic_does_not_fail_and_they_are_not_refused_for_themselves() -> None:
    desk, (a, b, c), other = Desk(), (letter(0), letter(1), letter(2)), letter(0, "bills")
    desk.add(a, b, c, other)
    assert desk.queue.coming(lambda item: item is not c.item) == 3
    desk.take()
    desk.fail(0.0, "POLICY_VIOLATION", a)
    desk.queue.acknowledged(b)
    desk.queue.acknowledged(c)
    desk.fail(0.0, "POLICY_VIOLATION", *desk.take())
    assert desk.queue.coming(lambda _: True) == 1
    desk.add(b)
    assert desk.queue.coming(lambda _: True) == 2
    desk.fail(0.0, DOWN, *[each for each in desk.take() if each is b])
    assert desk.queue.coming(lambda _: True) == 1


def test_messages_are_told_until_their_letters_are_acknowledged() -> None:
    desk, (a, b), other = Desk(), (letter(0), letter(1)), letter(0, "bills")
    desk.add(a, b, other)
    assert set(desk.queue.items()) == {a.item, b.item, other.item}
    desk.take()
    desk.queue.acknowledged(b)
    desk.fail(0.0, "POLICY_VIOLATION", a)  # It goes alone now,
    assert set(desk.queue.items()) == {a.item, other.item}
    desk.fail(0.0, "POLICY_VIOLATION", *desk.take())  # and then rests.
    assert set(desk.queue.items()) == {a.item, other.item}


def test_an_outage_is_told_once_with_a_reminder_and_its_end() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.fail(0.0, DOWN, *desk.take())
    assert desk.queue.take_notices() == [LetterNotice(NoticeKind.FAILS, "orders.dlq", DOWN, "no", 2)]
    desk.fail(2.0, DOWN, *desk.take(1.0))
    assert desk.queue.take_notices() == []
    desk.fail(REMIND_SECONDS, DOWN, *desk.take(REMIND_SECONDS))
    assert desk.queue.take_notices() == [LetterNotice(NoticeKind.FAILS, "orders.dlq", DOWN, "no", 2, more=2)]
    [probe] = desk.take(REMIND_SECONDS * 2)
    desk.queue.acknowledged(probe)

    assert desk.queue.take_notices() == [LetterNotice(NoticeKind.RECOVERED, "orders.dlq", "", "", 1)]


def test_a_short_relapse_is_not_told() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a)
    desk.fail(0.0, DOWN, *desk.take())
    desk.queue.acknowledged(*desk.take(1.0))
    desk.queue.take_notices()
    desk.add(b)
    desk.fail(2.0, DOWN, *desk.take(2.0))
    desk.queue.acknowledged(*desk.take(3.0))

    assert desk.queue.take_notices() == []


CODES = [DOWN, TOO_LARGE, "INVALID_RECORD", "TOPIC_AUTHORIZATION_FAILED"]


@given(data=st.data(), count=st.integers(1, 12))
def test_whatever_fails_every_letter_arrives_once_all_works_and_the_bound_holds(
    data: st.DataObject, count: int
) -> None:
    desk = Desk()
    letters = [letter(offset, data.draw(st.sampled_from(["orders", "bills"]))) for offset in range(count)]
    desk.add(*letters)
    now, under_way, arrived = 0.0, list[Letter](), list[Letter]()
    for _ in range(data.draw(st.integers(0, 40))):
        now += data.draw(st.sampled_from([0.0, 0.5, 3.0]))
        under_way += desk.take(now)
        assert len(under_way) <= POLICY.most_under_way
        assert len(set(under_way)) == len(under_way)
        if under_way:
            answered = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            code = data.draw(st.sampled_from([None, *CODES]))
            if code is None:
                desk.queue.acknowledged(answered)
                arrived.append(answered)
            else:
                desk.fail(now, code, answered)
    for _ in range(10 * count):
        now += POLICY.longest_wait_seconds
        under_way += desk.take(now)
        while under_way:
            arrived.append(under_way.pop())
            desk.queue.acknowledged(arrived[-1])

    assert sorted(arrived, key=id) == sorted(letters, key=id)
    assert (len(desk.queue), desk.next_at(), desk.queue.sent) == (0, None, count)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (7, 30.0), (10_000, 30.0)])
def test_the_default_waits_are_bounded(failures: int, seconds: float) -> None:
    assert LetterPolicy().wait_seconds(failures) == seconds
