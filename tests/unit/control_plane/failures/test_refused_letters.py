"""Dead letters that the broker refuses for themselves: they shrink, go alone, and rest."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm
from pyrallel_consumer.control_plane.failures.letter_queue import NoticeKind
from tests.unit.control_plane.failures.letter_desk import DOWN, TOO_LARGE, Desk, letter


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
