"""Dead letters while their topic fails: probes, waits, and the end of an outage."""

from __future__ import annotations

from pyrallel_consumer.control_plane.failures.letter import LetterForm
from tests.unit.control_plane.failures.letter_desk import DOWN, TOO_LARGE, Desk, letter


def test_a_topic_that_fails_gets_one_probe_after_each_wait_and_all_the_rest_when_a_probe_arrives() -> None:
    desk, (a, b, c) = Desk(), (letter(0), letter(1), letter(2))
    desk.add(a, b, c)
    desk.fail(10.0, DOWN, *desk.take(10.0))

    assert desk.is_failing()
    assert desk.take(10.9) == []
    assert desk.next_at() == 11.0
    assert desk.take(11.0) == [a]
    assert desk.take(11.5) == []
    assert desk.next_at() is None
    desk.fail(12.0, DOWN, a)
    assert desk.next_at() == 14.0
    assert desk.take(14.0) == [b]
    desk.queue.acknowledged(b)
    assert not desk.is_failing()
    assert desk.take(14.0) == [c, a]
    assert desk.queue.failures_by_code == {DOWN: 4}


def test_waits_double_up_to_their_bound() -> None:
    desk, a = Desk(), letter(0)
    desk.add(a)
    desk.take()
    now, waits = 0.0, []
    for _ in range(5):
        desk.fail(now, DOWN, a)
        at = desk.next_at()
        assert at is not None
        waits.append(at - now)
        now = at
        assert desk.take(now) == [a]

    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_what_fails_or_arrives_late_of_before_the_outage_changes_no_wait() -> None:
    desk, (a, b, c) = Desk(), (letter(0), letter(1), letter(2))
    desk.add(a, b, c)
    desk.take()
    desk.fail(0.0, DOWN, a)
    desk.fail(0.9, DOWN, b)
    desk.queue.acknowledged(c)

    assert desk.is_failing()
    assert desk.next_at() == 1.0


def test_no_probe_goes_out_while_letters_of_before_the_outage_are_unanswered() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.take()
    desk.fail(0.0, DOWN, a)

    assert (desk.take(5.0), desk.next_at()) == ([], None)
    desk.queue.acknowledged(b)
    assert desk.take(5.0) == [a]


def test_a_topic_that_fails_keeps_no_letter_of_another_back() -> None:
    desk, (a, b) = Desk(), (letter(0, "orders"), letter(0, "bills"))
    desk.add(a)
    desk.fail(0.0, "TOPIC_AUTHORIZATION_FAILED", *desk.take())
    desk.add(b)

    assert desk.take() == [b]
    desk.queue.acknowledged(b)
    assert desk.is_failing()


def test_a_topic_does_not_fail_any_more_when_the_assignments_of_all_its_letters_have_ended() -> None:
    desk, (a, b), other = Desk(), (letter(0), letter(1)), letter(0, "bills")
    desk.add(a, b, other)
    desk.fail(0.0, DOWN, *desk.take())
    desk.ended.update({a.item, b.item})
    desk.queue.drop_ended(desk.is_current)
    assert desk.is_failing()

    desk.ended.add(other.item)
    desk.queue.drop_ended(desk.is_current)

    assert not desk.is_failing()
    assert (len(desk.queue), desk.queue.dropped, desk.next_at()) == (0, 3, None)


def test_a_letter_that_fails_when_its_assignment_has_ended_leaves_no_failing_topic_behind() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.take()
    desk.fail(0.0, DOWN, b)
    desk.ended.update({a.item, b.item})
    desk.queue.drop_ended(desk.is_current)
    desk.queue.failed(a, DOWN, "no", 0.1, is_wanted=False)

    assert not desk.is_failing()
    assert (len(desk.queue), desk.queue.dropped) == (0, 2)
    assert desk.queue.failures_by_code == {DOWN: 2}


def test_a_topic_whose_last_letter_arrives_late_does_not_fail_without_letters() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.take()
    desk.fail(0.0, DOWN, a)
    desk.ended.add(a.item)
    desk.queue.drop_ended(desk.is_current)
    desk.queue.acknowledged(b)

    assert (desk.is_failing(), desk.queue.sent) == (False, 1)


def test_a_probe_that_is_refused_for_itself_leaves_the_next_probe_to_another_letter() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.fail(0.0, DOWN, *desk.take())
    desk.fail(1.0, "POLICY_VIOLATION", *desk.take(1.0))

    assert desk.is_failing()
    assert desk.take(1.0) == [b]
    desk.fail(1.0, DOWN, b)
    assert desk.next_at() == 3.0


def test_a_letter_that_must_go_alone_does_so_after_an_outage_too() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a)
    desk.fail(0.0, TOO_LARGE, *desk.take())
    desk.fail(0.0, DOWN, *desk.take())
    desk.add(b)
    desk.queue.acknowledged(*desk.take(1.0))

    assert b.form is LetterForm.FULL
    assert desk.take(1.0) == [a]


def test_an_alone_letter_is_the_probe_where_there_is_no_other() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.take()
    desk.fail(0.0, TOO_LARGE, a)
    desk.fail(0.0, DOWN, b)
    desk.ended.add(b.item)

    assert desk.take(1.0) == [a]
    assert a.is_alone
    assert desk.queue.dropped == 1
