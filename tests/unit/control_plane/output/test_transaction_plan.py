"""The content of a transaction: its map lists everything that it writes, and everything that was written before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.offsets.commit_encoder import METADATA_LIMIT_BYTES, decode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.offsets.offset_tracker import OffsetTracker
from pyrallel_consumer.control_plane.output.transaction_plan import Floor, Plan, plan
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.testing import PlainMessage
from tests.unit.control_plane.builders import TP

NOTHING_WRITTEN = Floor(0, None)


class _Origin:
    epoch = 1
    is_ordered = False


def tracker_of(
    delivered: Sequence[int], finished: Sequence[int] = (), restored: OffsetMap | None = None
) -> OffsetTracker:
    tracker = OffsetTracker(min(delivered, default=0), restored or OffsetMap(0, 0))
    for offset in delivered:
        if not tracker.is_done_before(offset, None):
            tracker.unfinished[offset] = WorkItem(PlainMessage(TP.topic, TP.partition, offset), offset, _Origin())
        tracker.next_offset = offset + 1
    for offset in finished:
        del tracker.unfinished[offset]
    return tracker


def covered(made: Plan, offsets: Iterable[int]) -> list[int]:
    """The ``offsets`` that the next owner skips after this commit."""
    known = decode(made.metadata, TP, made.offset)
    unfinished = frozenset(known.unfinished)
    return [offset for offset in offsets if offset < known.top and offset not in unfinished]


def planned(
    tracker: OffsetTracker, candidates: Sequence[int], floor: Floor = NOTHING_WRITTEN, **options: object
) -> Plan:
    made = plan(tracker, candidates, floor, TP, **options)  # type: ignore[arg-type]
    assert made is not None
    return made


def test_what_finished_out_of_order_goes_with_the_map_that_tells_of_it() -> None:
    made = planned(tracker_of(range(10)), [2, 5])

    assert (made.offset, made.taken, made.floor.top) == (0, 2, 6)
    assert covered(made, range(10)) == [2, 5]


def test_what_is_not_to_be_written_is_not_in_the_map_either() -> None:
    made = planned(tracker_of(range(10)), [0, 1])

    assert (made.offset, made.metadata) == (2, "")


def test_without_anything_unfinished_the_offset_alone_is_enough() -> None:
    made = planned(tracker_of(range(10)), list(range(10)))

    assert (made.offset, made.metadata, made.taken) == (10, "", 10)


def test_the_rest_of_the_restored_map_stays_in_the_map() -> None:
    restored = OffsetMap(0, 9, (0, 1, 2, 3, 5))
    tracker = tracker_of(range(3), restored=restored)

    made = planned(tracker, [1], Floor(restored.top, None))

    assert covered(made, range(9)) == [1, 4, 6, 7, 8]


def test_what_the_map_has_no_room_for_waits_and_is_not_in_it() -> None:
    random = Random(1)
    finished = sorted(random.sample(range(1, 60_000), 20_000))

    made = planned(tracker_of(range(60_000)), finished)

    assert 0 < made.taken < len(finished)
    assert len(made.metadata) <= METADATA_LIMIT_BYTES
    assert covered(made, finished) == finished[: made.taken]


def test_what_was_written_is_never_pushed_out_by_what_finishes_later() -> None:
    random = Random(2)
    tracker = tracker_of(range(40_000))
    first = sorted(random.sample(range(1, 40_000), 2_600))
    made = planned(tracker, first)
    written = first[: made.taken]
    for offset in written:
        del tracker.unfinished[offset]

    more = sorted(random.sample(list(tracker.unfinished)[1:], 9_000))
    again = planned(tracker, more, made.floor)

    assert covered(again, written) == written
    assert covered(again, more) == more[: again.taken]
    assert again.taken < len(more)


def test_without_a_map_only_the_front_is_written() -> None:
    made = planned(tracker_of([0, 1, 2, 5, 6]), [0, 1, 5], with_map=False)

    assert (made.offset, made.metadata, made.taken) == (2, "", 2)


def test_without_a_map_what_an_earlier_owner_wrote_stays_told_of() -> None:
    restored = OffsetMap(0, 4, (0, 1))
    made = planned(tracker_of([0], restored=restored), [0], Floor(4, None), with_map=False)

    assert covered(made, range(6)) == [0, 2, 3]


def test_a_map_too_large_for_the_broker_lets_what_finished_wait() -> None:
    made = planned(tracker_of(range(1_000)), list(range(1, 1_000, 2)), limit_bytes=0)

    assert (made.offset, made.metadata, made.taken) == (0, "", 0)


def test_what_only_moves_the_offset_goes_on_however_little_room_there_is() -> None:
    restored = OffsetMap(0, 9, (0, 1, 2, 3, 5))
    tracker = tracker_of(range(4), restored=restored)

    made = planned(tracker, [0, 1, 3], Floor(restored.top, None), limit_bytes=20)

    assert (made.offset, made.taken) == (2, 2)
    assert covered(made, range(9)) == [0, 1, 4, 6, 7, 8]


def test_all_waits_where_what_was_written_has_no_room() -> None:
    random = Random(3)
    finished = random.sample(range(1, 60_000), 30_000)

    assert plan(tracker_of(range(60_000), finished), (), Floor(60_000, None), TP) is None


def test_a_map_of_too_many_gaps_is_not_looked_at() -> None:
    assert plan(tracker_of(range(0, 60_000, 2)), (), Floor(60_000, None), TP) is None


@given(st.data())
def test_every_map_tells_of_all_that_was_written_and_of_nothing_else(data: st.DataObject) -> None:
    limit = data.draw(st.sampled_from((4_000, 260, 230, 0)))
    with_map = data.draw(st.booleans())
    delivered = sorted(data.draw(st.sets(st.integers(0, 300), min_size=1)))
    tracker = tracker_of(delivered)
    done: set[int] = set()
    written: set[int] = set()
    floor = Floor(delivered[0], None)
    for _ in range(data.draw(st.integers(1, 5))):
        open_offsets = [offset for offset in tracker.unfinished if offset not in done]
        if open_offsets:
            done |= data.draw(st.sets(st.sampled_from(open_offsets)))
        candidates = sorted(done - written)

        made = planned(tracker, candidates, floor, limit_bytes=limit, with_map=with_map)

        written |= set(candidates[: made.taken])
        assert covered(made, delivered) == sorted(written)
        for offset in candidates[: made.taken]:
            del tracker.unfinished[offset]
        floor = made.floor


@pytest.mark.parametrize("leader_epoch", [None, 7])
def test_the_map_has_the_leader_epoch_of_the_record_at_its_top(leader_epoch: int | None) -> None:
    tracker = OffsetTracker(0, OffsetMap(0, 0))
    for offset in range(4):
        message = PlainMessage(TP.topic, TP.partition, offset, leader_epoch=leader_epoch if offset == 2 else 9)
        tracker.unfinished[offset] = WorkItem(message, offset, _Origin())
        tracker.next_offset = offset + 1

    made = planned(tracker, [2])

    assert made.floor == Floor(3, leader_epoch)
    assert decode(made.metadata, TP, made.offset).leader_epoch == leader_epoch
