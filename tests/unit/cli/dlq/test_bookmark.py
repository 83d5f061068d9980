"""What a replay's commits remember: everything that was sent, and everything that was not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.cli.dlq.bookmark import Bookmark, bookmark_of
from pyrallel_consumer.control_plane.offsets.commit_encoder import METADATA_LIMIT_BYTES
from pyrallel_consumer.dto import TopicPartition

DLQ = TopicPartition("orders.dlq", 0)


def waiting_of(bookmark: Bookmark, offsets: range) -> list[int]:
    """Which of these a next replay would find waiting."""
    return [offset for offset in offsets if bookmark.read(offset)]


def again(bookmark: Bookmark, end: int, low: int = 0) -> Bookmark:
    """The next replay's bookmark, from what this one commits."""
    return bookmark_of(DLQ, *bookmark.commit(), low, end)


def test_without_a_commit_everything_from_the_log_s_beginning_waits() -> None:
    bookmark = bookmark_of(DLQ, None, None, 3, 6)

    assert bookmark.commit() == (3, "")
    assert waiting_of(bookmark, range(3, 6)) == [3, 4, 5]
    assert bookmark.waiting == 3


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200))
def test_what_was_sent_is_remembered_and_what_was_left_out_waits(letters: list[tuple[bool, bool]]) -> None:
    """Each letter is sent by the first replay, or the second, or by none."""
    end = len(letters)
    bookmark = bookmark_of(DLQ, None, None, 0, end)
    for is_sent in zip(*letters, strict=True) if letters else ():
        for offset in waiting_of(bookmark, range(end)):
            if is_sent[offset]:
                bookmark.replayed(offset)
        bookmark = again(bookmark, end)

    assert waiting_of(bookmark, range(bookmark.commit()[0], end)) == [
        offset for offset, sent in enumerate(letters) if not any(sent)
    ]


def test_an_interrupted_replay_remembers_what_an_earlier_one_sent_beyond() -> None:
    bookmark = bookmark_of(DLQ, None, None, 0, 100)
    waiting_of(bookmark, range(100))
    for offset in range(50, 60):
        bookmark.replayed(offset)
    bookmark = again(bookmark, 100)
    bookmark.read(0)
    bookmark.replayed(0)

    assert waiting_of(again(bookmark, 100), range(1, 100)) == [*range(1, 50), *range(60, 100)]


def test_letters_that_are_gone_hold_nothing_back() -> None:
    bookmark = bookmark_of(DLQ, None, None, 0, 10)
    waiting_of(bookmark, range(10))
    bookmark.replayed(9)
    bookmark = again(bookmark, 20)
    for offset in (4, 7, 12):  # compaction took the others
        assert bookmark.read(offset)
        bookmark.replayed(offset)

    assert bookmark.read_to_end(20)
    assert bookmark.commit() == (20, "")


def test_letters_that_the_log_no_longer_has_are_forgotten() -> None:
    bookmark = bookmark_of(DLQ, None, None, 0, 10)
    waiting_of(bookmark, range(10))
    bookmark.replayed(7)

    bookmark = again(bookmark, 10, low=5)

    assert bookmark.commit()[0] == 5
    assert waiting_of(bookmark, range(5, 10)) == [5, 6, 8, 9]
    assert bookmark_of(DLQ, 3, "", 5, 10).commit() == (5, "")


@pytest.mark.parametrize(
    ("offset", "metadata", "sentence"),
    [
        (11, "", "beyond the end"),
        (5, "somebody else's", "cannot be read"),
        (5, "pyrallel/1/AAAAAAAA", "cannot be read"),
    ],
)
def test_a_commit_that_does_not_fit_the_log_is_refused(offset: int, metadata: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        bookmark_of(DLQ, offset, metadata, 0, 10)


def test_a_map_beyond_the_log_s_end_is_refused() -> None:
    bookmark = bookmark_of(DLQ, None, None, 0, 10)
    waiting_of(bookmark, range(10))
    bookmark.replayed(9)
    offset, metadata = bookmark.commit()

    with pytest.raises(ValueError, match="created again"):
        bookmark_of(DLQ, offset, metadata, 0, 5)


def test_there_is_room_while_the_commit_can_tell_of_every_letter_and_no_longer() -> None:
    """Letters sent at irregular places: the room for gaps ends before the metadata's."""
    end = 200_000
    chance = random.Random(7)
    bookmark = bookmark_of(DLQ, None, None, 0, end)
    sent: list[int] = []
    for offset in range(end):
        bookmark.read(offset)
        if chance.random() < 0.02:
            sent.append(offset)
            if len(sent) % 100 == 0:
                if not bookmark.has_room_for(sent[-100:]):
                    break
                for each in sent[-100:]:
                    bookmark.replayed(each)
    known = sent[:-100]
    committed_offset, metadata = bookmark.commit()

    assert len(metadata) <= METADATA_LIMIT_BYTES
    assert len(known) >= 1000
    following = bookmark_of(DLQ, committed_offset, metadata, 0, end)
    assert [offset for offset in range(known[-1] + 1) if not following.read(offset)] == known


def test_there_is_always_room_for_what_comes_next() -> None:
    bookmark = bookmark_of(DLQ, None, None, 0, 10)
    waiting_of(bookmark, range(10))

    assert bookmark.has_room_for(range(10))
    assert bookmark.has_room_for([0, 1, 5])
