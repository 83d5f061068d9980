"""Exactly once: nothing is finished before its transaction is committed, and written messages stay written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyrallel_consumer.control_plane.events import CommitSnapshot, OffsetWentBack
from pyrallel_consumer.control_plane.offsets.commit_encoder import decode, encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.output.fencing_watch import FencingWatch
from pyrallel_consumer.control_plane.output.outcome import NOT_WRITTEN, resolved
from pyrallel_consumer.control_plane.output.refusal_search import ENOUGH, RefusalSearch
from pyrallel_consumer.control_plane.output.transaction_plan import Floor
from pyrallel_consumer.control_plane.output.unwritten import Unwritten
from pyrallel_consumer.control_plane.output.writing import Writing
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted, RebalanceStateStrategy, WorkItem
from pyrallel_consumer.record import Record
from tests.unit.control_plane.builders import (
    OTHER,
    TP,
    assigned,
    keyed,
    manager_of,
    offsets_of,
    only,
    picture_of,
    run_of,
)

RECORDS = (Record("out", b"v"),)


def writing(*tps: object, **policy: object) -> WorkManager:
    return manager_of(*tps, policy=WorkPolicy(is_writing=True, **policy))  # type: ignore[arg-type]


def started(manager: WorkManager, keys: str) -> list[WorkItem]:
    manager.add(TP, 1, run_of(keyed(0, keys)))
    return manager.take(100)


def returned(manager: WorkManager, *items: WorkItem, records: tuple[Record, ...] = RECORDS) -> list[Unwritten]:
    return manager.outbox.await_writing([Unwritten(item, records, 1) for item in items])


def entries(snapshot: CommitSnapshot) -> list[int]:
    return [entry.item.offset for entry in snapshot.entries]


def test_what_finished_out_of_order_goes_into_the_transaction_by_offset() -> None:
    manager = writing()
    items = started(manager, "abcdef")
    returned(manager, items[4], items[2])

    snapshot = only(manager.snapshots())

    assert (snapshot.offset, entries(snapshot)) == (0, [2, 4])
    assert decode(snapshot.metadata, TP, 0).unfinished == (0, 1, 3)
    assert manager.processed == 0


def test_the_worker_of_a_message_that_came_again_meanwhile_is_timed_too() -> None:
    manager = writing(is_timed=True)
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [item] = manager.take(1, now=1.0)
    manager.go_back(OffsetWentBack(TP, 1, 2, 0))

    assert manager.outbox.await_writing([Unwritten(item, RECORDS, 1)], 4.0) == []
    latency = picture_of(manager).latency
    assert latency is not None
    assert latency.total_seconds == 3.0


def test_a_committed_transaction_finishes_its_messages_and_nothing_is_left_to_commit() -> None:
    manager = writing()
    items = started(manager, "abc")
    returned(manager, items[1])

    manager.confirm(only(manager.snapshots()))

    assert (manager.processed, manager.snapshots(), manager.has_uncommitted) == (1, (), False)


def test_an_aborted_transaction_is_written_again_with_what_came_since() -> None:
    manager = writing()
    items = started(manager, "abc")
    returned(manager, items[1])
    assert entries(only(manager.snapshots())) == [1]

    returned(manager, items[0])

    assert entries(only(manager.snapshots())) == [0, 1]


def test_what_returned_while_a_transaction_was_under_way_waits_for_the_next() -> None:
    manager = writing()
    items = started(manager, "abc")
    returned(manager, items[0])
    first = only(manager.snapshots())
    returned(manager, items[2])

    manager.confirm(first)

    snapshot = only(manager.snapshots())
    assert (snapshot.offset, entries(snapshot)) == (1, [2])


def test_messages_without_records_go_through_transactions_too() -> None:
    manager = writing()
    [item] = started(manager, "a")
    returned(manager, item, records=())
    assert manager.processed == 0

    snapshot = only(manager.snapshots())
    manager.confirm(snapshot)

    assert (snapshot.offset, manager.processed) == (1, 1)


def test_a_letter_is_written_with_the_offset_of_its_message_and_then_its_key_goes_on() -> None:
    manager = writing()
    [item] = started(manager, "aa")
    manager.exhaust(item)
    letter: object = object()
    assert manager.outbox.write_letter(Unwritten(item, (), 3, letter=letter))  # type: ignore[arg-type]

    snapshot = only(manager.snapshots())
    manager.confirm(snapshot)
    [written] = manager.outbox.take_written_letters()
    assert written.letter is letter
    manager.settle(written.item)

    assert (snapshot.offset, offsets_of(manager.take(10))) == (1, [1])
    assert manager.snapshots() == ()


def test_a_refused_letter_leaves_the_transaction() -> None:
    manager = writing()
    [item] = started(manager, "a")
    manager.exhaust(item)
    unwritten = Unwritten(item, (), 3, letter=object())  # type: ignore[arg-type]
    manager.outbox.write_letter(unwritten)

    manager.outbox.keep_letter(unwritten)

    assert manager.snapshots() == ()
    manager.outbox.keep_letter(unwritten)  # it has left already
    assert manager.snapshots() == ()


def test_a_skipped_message_is_done_with_the_next_transaction() -> None:
    manager = writing(on_exhausted=OnExhausted.SKIP)
    [item] = started(manager, "aa")
    manager.exhaust(item)
    assert manager.take(10) == []

    manager.confirm(only(manager.snapshots()))

    assert (manager.settled, offsets_of(manager.take(10))) == (1, [1])


def test_a_refused_message_is_in_no_transaction_until_it_returned_again() -> None:
    manager = writing()
    [first, second] = started(manager, "ab")
    [refused] = returned(manager, first)
    returned(manager, second)
    refused.is_refused = True

    assert entries(only(manager.snapshots())) == [1]

    again = manager.outbox.take_back(first, 2)
    assert again is not None
    manager.cancel(again)
    [repeated] = manager.take(10)
    returned(manager, repeated)
    assert entries(only(manager.snapshots())) == [0, 1]


def test_the_end_of_an_assignment_hands_over_what_is_written_with_its_last_transaction() -> None:
    manager = writing()
    items = started(manager, "abc")
    returned(manager, items[1])

    snapshot = only(manager.end([(TP, 1)], is_lost=False))

    assert entries(snapshot) == [1]
    assert not manager.outbox.write_letter(Unwritten(items[0], (), 1))
    manager.confirm(snapshot)
    assert manager.processed == 0


def test_a_search_takes_fewer_messages_of_all_partitions_together() -> None:
    manager = writing(TP, OTHER)
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    manager.add(OTHER, 2, run_of(keyed(0, "abc"), OTHER))
    returned(manager, *manager.take(10))

    assert manager.outbox.most_written is None
    manager.outbox.most_written = 4
    assert manager.outbox.most_written == 4

    assert [entries(snapshot) for snapshot in manager.snapshots()] == [[0, 1, 2], [0]]


def test_a_map_that_was_restored_is_never_cut() -> None:
    manager = WorkManager(WorkPolicy(is_writing=True))
    manager.assign(assigned(restored=OffsetMap(0, 9, (0, 1, 2, 5))))
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    returned(manager, manager.take(10)[1])

    known = decode(only(manager.snapshots()).metadata, TP, 0)

    assert (known.top, known.unfinished) == (9, (0, 2, 5))


def test_a_refused_record_is_found_by_halves() -> None:
    search = RefusalSearch()

    assert search.aborted(100, [40, 41, 42]) is None
    assert search.most_written == 40
    search.committed()
    assert search.most_written == 80
    assert search.aborted(60, [0, 1]) is None
    assert search.most_written == 30
    assert search.aborted(1, [0]) == 0
    for _ in range(ENOUGH):
        search.committed()
    assert search.most_written is None


@pytest.mark.parametrize(("seconds", "is_over"), [(59.0, True), (61.0, False)])
def test_a_second_fencing_within_a_minute_is_somebody_else(seconds: float, is_over: bool) -> None:
    watch = FencingWatch()
    assert not watch.fenced(100.0)

    assert watch.fenced(100.0 + seconds) is is_over


def sent(manager: WorkManager) -> CommitSnapshot:
    items = started(manager, "abcd")
    returned(manager, items[2])
    return only(manager.snapshots())


def test_an_unknown_outcome_is_read_off_from_what_the_group_has_committed() -> None:
    snapshot = sent(writing())
    beyond = encode(OffsetMap(1, 4, (1,)), TP)

    assert resolved([snapshot], {TP: (snapshot.offset, snapshot.metadata)}) == {TP: None}
    assert resolved([snapshot], {TP: (1, beyond)}) == {TP: None}
    assert resolved([snapshot], {TP: (0, "")}) == {TP: NOT_WRITTEN}
    assert resolved([snapshot], {TP: (0, "of another tool")}) == {TP: NOT_WRITTEN}


def test_a_partition_that_wrote_nothing_shares_the_fate_of_the_others() -> None:
    snapshot = sent(writing())
    idle = CommitSnapshot(OTHER, 2, 7, "", 0, None)

    told = {TP: (0, ""), OTHER: (7, "")}
    assert resolved([snapshot, idle], told) == {TP: NOT_WRITTEN, OTHER: NOT_WRITTEN}
    assert resolved([idle], {OTHER: (7, "")}) == {OTHER: None}
    assert resolved([idle], {OTHER: (3, "")}) == {OTHER: NOT_WRITTEN}


def test_all_of_a_partition_waits_where_what_was_written_has_no_room() -> None:
    manager = writing()
    manager.add(TP, 1, run_of(dict.fromkeys(range(0, 60_000, 2))))
    [work] = manager
    assert work.writing is not None
    work.writing.floor = Floor(60_000, None)
    returned(manager, manager.take(1)[0])

    assert manager.snapshots() == ()
    assert work.writing.is_cramped


def test_a_snapshot_of_an_ordinary_commit_confirms_as_well() -> None:
    manager = writing()
    items = started(manager, "ab")
    returned(manager, items[0])
    snapshot = replace(only(manager.snapshots()), floor=None)
    [work] = manager
    work.unwritten.clear()

    manager.confirm(snapshot)

    assert manager.processed == 0


def test_going_back_forgets_letters_and_the_floor_from_there_on() -> None:
    manager = writing()
    items = started(manager, "abcd")
    for item in items[1:3]:
        manager.exhaust(item)
        manager.outbox.write_letter(Unwritten(item, (), 3, letter=object()))  # type: ignore[arg-type]
    [work] = manager
    assert work.writing is not None
    work.writing.floor = Floor(4, None)

    manager.go_back(OffsetWentBack(TP, 1, 2, 2))

    assert list(work.writing.letters) == [1]
    assert work.writing.floor == Floor(2, None)


def test_what_waits_for_room_alone_is_no_transaction() -> None:
    manager = writing(state_strategy=RebalanceStateStrategy.CONTIGUOUS_ONLY)
    items = started(manager, "abc")
    returned(manager, items[2])

    assert manager.snapshots() == ()
    assert manager.has_uncommitted


def test_a_transaction_that_only_repeats_carries_what_the_broker_has() -> None:
    manager = writing()
    items = started(manager, "ab")
    returned(manager, items[0])
    first = only(manager.snapshots())
    manager.confirm(first)
    assert manager.snapshots() == ()

    repeated = only(manager.snapshots(is_repeating=True))

    assert (repeated.offset, entries(repeated)) == (first.offset, [])


def test_a_transaction_carries_the_leader_epoch_of_the_next_message_to_read_and_the_floor_of_its_map() -> None:
    manager = writing()
    manager.add(TP, 1, run_of(keyed(0, "abc"), leader_epoch=7))
    returned(manager, manager.take(3)[1])

    snapshot = only(manager.snapshots())

    assert (snapshot.leader_epoch, snapshot.floor) == (7, Floor(2, 7))


def test_nothing_is_cramped_before_a_map_was_too_large() -> None:
    assert not Writing(assigned()).is_cramped
