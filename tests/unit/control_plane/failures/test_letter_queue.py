"""Which letters are sent, and what happens to refused ones: each topic by itself, and no letter is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm
from pyrallel_consumer.control_plane.failures.letter_queue import (
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


def letter(offset: int, topic: str = "orders", key: bytes | None = b"key") -> Letter:
    item = WorkItem(PlainMessage(topic, 0, offset, key, b"value"), offset, Epoch())
    return Letter(item, f"{topic}.dlq", "ValueError", 3, LetterForm.FULL)


class Desk:
    """A queue, and the set of partitions whose assignments have ended."""

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
    desk.fail(0.0, "POLICY_VIOLATION", a)
    desk.queue.acknowledged(b)
    desk.fail(0.0, "POLICY_VIOLATION", *desk.take())

    assert not desk.is_failing()
    assert desk.take(1.0) == [a]
    desk.fail(1.0, "POLICY_VIOLATION", a)
    assert (desk.take(2.9), desk.next_at()) == ([], 3.0)
    assert desk.take(3.0) == [a]
    assert a.form is LetterForm.FULL


def test_letters_that_were_refused_for_themselves_at_one_moment_go_out_again_in_their_order() -> None:
    desk, letters = Desk(), [letter(offset) for offset in range(3)]
    desk.add(*letters)
    desk.take()
    desk.fail(0.0, "POLICY_VIOLATION", *letters)
    again = []
    for _ in letters:
        [alone] = desk.take(0.0)
        again.append(alone)
        desk.fail(0.0, "POLICY_VIOLATION", alone)

    rested = []
    for _ in letters:
        [alone] = desk.take(9.0)
        rested.append(alone)
        desk.queue.acknowledged(alone)

    assert rested == again == letters


@pytest.mark.parametrize("code", ["INVALID_RECORD", "INVALID_MSG", "POLICY_VIOLATION", TOO_LARGE])
def test_a_letter_that_its_topic_refuses_drags_no_other_of_its_batch_along(code: str) -> None:
    desk, letters = Desk(), [letter(offset) for offset in range(6)]
    bad = letters[1]
    desk.add(*letters)
    now, arrived = 0.0, list[Letter]()
    for _ in range(40):
        batch = desk.take(now)
        if bad in batch:
            desk.fail(now, code, *batch)
        else:
            for each in batch:
                desk.queue.acknowledged(each)
        arrived += [each for each in batch if bad not in batch]
        now += 0.1

    assert set(arrived) == set(letters) - {bad}
    assert {each.form for each in arrived} == {LetterForm.FULL}
    assert len(desk.queue) == 1


def test_a_letter_that_is_refused_alone_loses_its_headers_and_then_its_payload() -> None:
    desk, a = Desk(), letter(0)
    desk.add(a)
    steps = []
    for _ in range(5):
        assert desk.take() == [a]
        desk.fail(0.0, "INVALID_RECORD", a)
        steps.append((a.form, a.has_added_key))

    assert steps == [
        (LetterForm.FULL, False),
        (LetterForm.WITHOUT_HEADERS, False),
        (LetterForm.BARE, False),
        (LetterForm.BARE, True),
        (LetterForm.BARE, True),
    ]
    assert (desk.take(0.9), desk.next_at()) == ([], 1.0)


def test_a_letter_without_a_key_is_given_one_before_anything_is_left_out() -> None:
    desk, a = Desk(), letter(0, key=None)
    desk.add(a)
    desk.fail(0.0, "INVALID_RECORD", *desk.take())
    desk.fail(0.0, "INVALID_RECORD", *desk.take())

    assert (desk.take(), a.form, a.has_added_key) == ([a], LetterForm.FULL, True)


def test_once_a_topic_took_an_added_key_all_letters_without_one_go_out_with_it() -> None:
    desk, (a, keyless, keyed, early) = Desk(), (letter(offset, key=None) for offset in range(4))
    keyed = letter(2)
    desk.add(a, early)
    desk.fail(0.0, "INVALID_RECORD", *desk.take())
    desk.fail(0.0, "INVALID_RECORD", *desk.take())
    desk.fail(0.0, "INVALID_RECORD", *desk.take())
    desk.queue.acknowledged(*desk.take())
    desk.add(keyless, keyed)

    assert desk.take() == [early]
    desk.queue.acknowledged(early)
    assert desk.take() == [keyless, keyed]
    assert [each.has_added_key for each in (early, keyless, keyed)] == [True, True, False]


def test_a_wrong_clock_is_no_letters_fault_and_changes_no_letter() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a, b)
    desk.fail(0.0, "INVALID_TIMESTAMP", *desk.take())

    assert desk.is_failing()
    desk.queue.acknowledged(*desk.take(1.0))
    assert desk.take(1.0) == [b]
    assert {a.form, b.form} == {LetterForm.FULL}


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


def test_where_only_resting_letters_are_left_the_next_look_is_when_the_first_has_rested() -> None:
    desk, (a, b) = Desk(), (letter(0), letter(1))
    desk.add(a)
    desk.fail(0.0, "POLICY_VIOLATION", *desk.take())
    desk.fail(0.0, "POLICY_VIOLATION", *desk.take())
    desk.add(b)
    desk.fail(0.0, DOWN, *desk.take())
    assert desk.take(1.0) == [b]
    desk.fail(5.0, "POLICY_VIOLATION", b)
    desk.ended.add(b.item)
    desk.queue.drop_ended(desk.is_current)

    assert desk.is_failing()
    assert desk.take(5.0) == [a]
    desk.fail(5.0, "POLICY_VIOLATION", a)
    assert desk.next_at() == 7.0


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
