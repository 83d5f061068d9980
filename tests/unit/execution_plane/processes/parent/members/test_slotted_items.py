"""The items that an async process was sent, by slot, and what its marker says about them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrallel_consumer.execution_plane.attempts import Attempt
from pyrallel_consumer.execution_plane.processes.parent.members.slotted_items import SlottedItems
from pyrallel_consumer.execution_plane.processes.slot_marker import BEGUN, RETURNED, SlotMarker, state_word
from pyrallel_consumer.testing.messages import work_item


@pytest.fixture
def marker() -> Iterator[SlotMarker]:
    made = SlotMarker(4)
    yield made
    made.close()


def attempt(offset: int) -> Attempt:
    item = work_item(offset=offset)
    return Attempt(item, item, 0.0)


def test_a_slot_is_taken_until_its_end_is_told(marker: SlotMarker) -> None:
    sent = SlottedItems(4, marker)
    attempts = [attempt(number) for number in range(3)]
    first, slots = sent.add(attempts)
    assert (first, len(set(slots)), len(sent), sent.room) == (1, 3, 3, 1)
    assert sent.end(slots[1]) is attempts[1]
    assert sent.end_all([slots[0], slots[2]]) == [attempts[0], attempts[2]]
    assert (len(sent), sent.room) == (0, 4)
    assert sent.add([attempt(9)])[0] == 4


def test_the_marker_tells_what_began_and_what_returned(marker: SlotMarker) -> None:
    sent = SlottedItems(4, marker)
    first, slots = sent.add([attempt(number) for number in range(3)])
    assert sent.unbegun() == slots
    marker.slots[slots[0]] = state_word(first, BEGUN)
    marker.slots[slots[1]] = state_word(first + 1, RETURNED)
    assert (sent.has_begun(slots[0]), sent.has_returned(slots[0])) == (True, False)
    assert (sent.has_begun(slots[1]), sent.has_returned(slots[1])) == (False, True)
    assert sent.unbegun() == [slots[2]]
    assert sent.is_last_unbegun


def test_what_an_earlier_message_left_in_a_slot_says_nothing_of_the_next(marker: SlotMarker) -> None:
    sent = SlottedItems(1, marker)
    first, [slot] = sent.add([attempt(1)])
    marker.slots[slot] = state_word(first, BEGUN)
    sent.end(slot)
    second, [slot] = sent.add([attempt(2)])
    assert sent.unbegun() == [slot]
    assert sent.is_number(slot, second)
    assert not sent.is_number(slot, first)


def test_what_one_process_writes_another_reads(marker: SlotMarker) -> None:
    same = SlotMarker(fd=marker.fd)
    same.slots[3] = state_word(7, BEGUN)
    marker.recall(2)
    marker.let_start(12.5)
    same.turned(3.25)
    assert (marker.has(3, 7, BEGUN), same.generation, same.starts_until, marker.turned_at) == (True, 2, 12.5, 3.25)
    for view in (same.slots, same._words, same._times):  # noqa: SLF001 -- its file is the other's
        view.release()
    same._map.close()  # noqa: SLF001 -- as above


def test_closing_twice_does_nothing() -> None:
    made = SlotMarker(1)
    made.close()
    made.close()
