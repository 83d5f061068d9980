"""Which letters go out, and what becomes of those that failed: every lane by itself, and no letter lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.letter import Letter, LetterForm
from pyrallel_consumer.control_plane.letter_queue import (
    REMIND_SECONDS,
    LetterNotice,
    LetterPolicy,
    LetterQueue,
    NoticeKind,
)
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.testing import PlainMessage


class Epoch:
    epoch = 1
    is_ordered = False


DOWN = "_MSG_TIMED_OUT"
TOO_LARGE = "MSG_SIZE_TOO_LARGE"
POLICY = LetterPolicy(first_wait_seconds=1.0, longest_wait_seconds=4.0, most_under_way=3)


def letter(offset: int, topic: str = "orders") -> Letter:
    item = WorkItem(PlainMessage(topic, 0, offset, b"key", b"value"), offset, Epoch())
    return Letter(item, f"{topic}.dlq", "ValueError", 3, LetterForm.FULL)


class Desk:
    """A queue, with whose assignments have ended."""

    def __init__(self) -> None:
        self.queue = LetterQueue(POLICY)
        self.ended: set[WorkItem] = set()

    def next_at(self) -> float | None:
        return self.queue.next_at

    def is_failing(self) -> bool:
        return self.queue.is_failing

    def add(self, *letters: Letter) -> None:
        for each in letters:
            self.queue.add(each)

    def take(self, now: float = 0.0) -> list[Letter]:
        return self.queue.take(now, self.is_current)

    def fail(self, now: float, code: str, *letters: Letter) -> None:
        for each in letters:
            self.queue.failed(each, code, "no", now)

    def is_current(self, item: WorkItem) -> bool:
        return item not in self.ended


def test_letters_go_out_in_order_up_to_the_bound_and_go_on_with_each_acknowledgement() -> None:
    desk, letters = Desk(), [letter(offset) for offset in range(5)]
    desk.add(*letters)

    assert desk.take() == letters[:3]
    assert desk.take() == []
    desk.queue.acknowledged(letters[1])
    assert desk.take() == [letters[3]]
    assert (len(desk.queue), desk.queue.sent, desk.next_at()) == (4, 1, None)


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


def test_a_letter_in_a_batch_that_was_too_large_goes_out_alone_and_whole() -> None:
    desk, (a, b, c) = Desk(), (letter(0), letter(1), letter(2))
    desk.add(a, b)
    desk.fail(0.0, TOO_LARGE, *desk.take())
    desk.add(c)

    assert desk.take() == [a]
    assert desk.take() == []
    desk.queue.acknowledged(a)
    assert desk.take() == [b]
    desk.queue.acknowledged(b)
    assert desk.take() == [c]
    assert {each.form for each in (a, b, c)} == {LetterForm.FULL}
    assert desk.queue.take_notices() == []


def test_nothing_goes_with_a_letter_that_must_go_alone_nor_it_with_others() -> None:
    desk, (a, b, c) = Desk(), (letter(0), letter(1), letter(2))
    desk.add(a, b)
    desk.take()
    desk.fail(0.0, TOO_LARGE, a)

    assert desk.take() == []
    desk.queue.acknowledged(b)
    assert desk.take() == [a]
    desk.add(c)
    assert desk.take() == []
    desk.queue.acknowledged(a)
    assert desk.take() == [c]


def test_a_letter_that_is_too_large_alone_shrinks_step_by_step_and_then_rests() -> None:
    desk, a = Desk(), letter(0)
    desk.add(a)
    forms = []
    for _ in range(4):
        assert desk.take() == [a]
        forms.append((a.form, a.is_alone))
        desk.fail(0.0, TOO_LARGE, a)

    assert forms == [
        (LetterForm.FULL, False),
        (LetterForm.FULL, True),
        (LetterForm.METADATA_ONLY, True),
        (LetterForm.BARE, True),
    ]
    assert desk.take(0.9) == []
    assert desk.next_at() == 1.0
    assert desk.take(1.0) == [a]
    assert [notice.kind for notice in desk.queue.take_notices()] == [NoticeKind.SHRINKS, NoticeKind.REFUSES]


def test_a_letter_that_is_refused_for_itself_rests_longer_each_time_and_the_others_go_on() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.take()
    desk.fail(0.0, "INVALID_RECORD", a)
    desk.queue.acknowledged(b)

    assert not desk.is_failing()
    assert desk.take(1.0) == [a]
    desk.fail(1.0, "INVALID_RECORD", a)
    assert (desk.take(2.9), desk.next_at()) == ([], 3.0)
    assert desk.take(3.0) == [a]


def test_a_probe_that_is_refused_for_itself_leaves_the_next_probe_to_another_letter() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.fail(0.0, DOWN, *desk.take())
    desk.fail(1.0, "INVALID_RECORD", *desk.take(1.0))

    assert desk.is_failing()
    assert desk.take(1.0) == [b]
    desk.fail(1.0, DOWN, b)
    assert desk.next_at() == 3.0


def test_where_only_resting_letters_are_left_the_next_look_is_when_the_first_has_rested() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.take()
    desk.fail(0.0, "INVALID_RECORD", a)
    desk.fail(0.0, DOWN, b)
    assert desk.take(1.0) == [b]
    desk.ended.add(b.item)
    desk.fail(5.0, "INVALID_RECORD", b)

    assert desk.is_failing()
    assert desk.take(5.0) == [a]
    desk.fail(5.0, "INVALID_RECORD", a)
    assert desk.next_at() == 6.0


def test_a_letter_that_went_alone_goes_with_others_again_after_an_outage() -> None:
    desk, a = Desk(), letter(0)
    desk.add(a)
    desk.fail(0.0, TOO_LARGE, *desk.take())
    desk.fail(0.0, DOWN, *desk.take())

    assert desk.take(1.0) == [a]
    assert not a.is_alone


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


def test_letters_of_ended_assignments_are_dropped_where_they_wait_and_not_where_they_are_under_way() -> None:
    desk, letters = Desk(), [letter(offset) for offset in range(7)]
    desk.add(*letters[:3])
    desk.take()
    desk.fail(0.0, TOO_LARGE, letters[0])
    desk.fail(0.0, "INVALID_RECORD", letters[1])
    desk.add(*letters[3:])
    desk.ended.update(each.item for each in letters[:4])

    desk.queue.drop_ended(desk.is_current)

    assert (len(desk.queue), desk.queue.dropped) == (4, 3)
    desk.queue.acknowledged(letters[2])
    assert desk.take(9.0) == letters[4:]


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
    desk.fail(0.0, "INVALID_RECORD", a)
    desk.fail(0.0, TOO_LARGE, b)
    assert desk.queue.coming(lambda _: True) == 3
    desk.fail(0.0, DOWN, c)
    assert desk.queue.coming(lambda _: True) == 1


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
