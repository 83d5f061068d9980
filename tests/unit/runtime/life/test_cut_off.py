"""The names of messages that were not waited for."""

from __future__ import annotations

from pyrallel_consumer.log import MOST_NAMED
from pyrallel_consumer.runtime.life.cut_off import Noted, names_of
from pyrallel_consumer.testing.messages import work_item


def test_they_are_named_in_order_of_their_offsets() -> None:
    items = [work_item(topic="b", offset=1), work_item(topic="a", offset=10), work_item(topic="a", offset=9)]
    assert names_of(items) == "a-0-9, a-0-10, b-0-1"


def test_of_many_the_first_are_named_and_the_others_are_counted() -> None:
    items = [work_item(topic="a", offset=offset) for offset in range(MOST_NAMED + 1_500)]
    told = names_of(items)
    assert told.endswith(f"a-0-{MOST_NAMED - 1}, and 1,500 more")
    assert told.count("a-0-") == MOST_NAMED


def test_a_predicate_notes_what_it_is_asked_about() -> None:
    one, other = work_item(offset=1), work_item(offset=2)
    noted = Noted(lambda item: item is one)
    assert (noted(one), noted(other), noted(one)) == (True, False, True)
    assert list(noted.items) == [one]
