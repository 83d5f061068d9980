"""A worker returned records that are not written yet: its key goes on, and its offset does not complete."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.events import OffsetWentBack
from pyrallel_consumer.control_plane.failures.poison_keys import PoisonPolicy
from pyrallel_consumer.control_plane.output.unwritten import Outgoing, Unwritten
from pyrallel_consumer.control_plane.policies import OrderingPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import BlockedBy, OnExhausted, OrderingMode, WorkItem
from pyrallel_consumer.record import Record
from tests.unit.control_plane.builders import TP, assigned, keyed, manager_of, offsets_of, only, picture_of, run_of

RECORDS = (Record("out", b"v"),)


@pytest.fixture(params=[False, True], ids=["one by one", "sent ahead"])
def manager(request: pytest.FixtureRequest) -> WorkManager:
    return manager_of(policy=WorkPolicy(is_sending_ahead=request.param, is_timed=True))


def started(manager: WorkManager, keys: str) -> list[WorkItem]:
    manager.add(TP, 1, run_of(keyed(0, keys)))
    return manager.take(100, now=1.0)


def returned(manager: WorkManager, *items: WorkItem, now: float = 1.5) -> None:
    manager.outbox.await_writing([Unwritten(item, RECORDS, 1) for item in items], now)


def test_the_key_goes_on_when_the_worker_returned(manager: WorkManager) -> None:
    [first] = started(manager, "aa")

    returned(manager, first)

    assert offsets_of(manager.take(100, now=2.0)) == [1]


def test_the_offset_completes_when_the_records_are_written(manager: WorkManager) -> None:
    items = started(manager, "abc")
    returned(manager, *items)
    assert manager.snapshots() == ()

    manager.outbox.written(items[0])

    assert only(manager.snapshots()).offset == 1
    assert manager.processed == 1


def test_what_is_not_written_keeps_nobody_from_reading_and_holds_no_slot(manager: WorkManager) -> None:
    items = started(manager, "abc")

    returned(manager, *items)

    picture = picture_of(manager)
    assert (picture.queued, picture.in_flight, picture.held, manager.load.messages) == (0, 0, 0, 0)
    assert picture.blocked_by is BlockedBy.UNWRITTEN


def test_a_refused_record_has_the_message_run_again_behind_its_key(manager: WorkManager) -> None:
    [first] = started(manager, "aab")[:1]
    returned(manager, first)
    second = next((item for item in manager.take(100, now=2.0) if item.key == b"a"), None)

    again = manager.outbox.take_back(first, 2)
    assert again is not None
    manager.cancel(again)

    if second is not None:
        assert 0 not in offsets_of(manager.take(100, now=2.0))
        manager.succeed([second], 2.5)
    [repeated] = [item for item in manager.take(100, now=3.0) if item.offset == 0]
    assert (repeated.attempt, repeated.key) == (2, b"a")
    returned(manager, repeated, now=3.5)
    manager.outbox.written(repeated)
    assert only(manager.snapshots()).offset == 2


def test_a_refused_record_of_a_key_without_other_messages_has_it_run_again(manager: WorkManager) -> None:
    [only_one] = started(manager, "a")
    returned(manager, only_one)

    again = manager.outbox.take_back(only_one, 2)
    assert again is not None
    manager.cancel(again)

    [repeated] = manager.take(100, now=3.0)
    assert (repeated.offset, repeated.attempt, repeated.key) == (0, 2, b"a")
    manager.succeed([repeated], 3.5)
    assert only(manager.snapshots()).offset == 1


def test_a_refused_record_of_the_last_attempt_is_held_beside_its_key(manager: WorkManager) -> None:
    [first] = started(manager, "aa")
    returned(manager, first)
    [second] = manager.take(100, now=2.0)

    again = manager.outbox.take_back(first, 3)
    assert again is not None
    assert manager.exhaust(again) is OnExhausted.DLQ
    manager.succeed([second], 2.5)
    assert picture_of(manager).held == 1
    manager.settle(again)

    assert only(manager.snapshots()).offset == 2
    picture = picture_of(manager)
    assert (picture.failed, picture.settled, picture.finished, picture.queued) == (1, 1, 2, 0)


@pytest.mark.parametrize("is_sending_ahead", [False, True])
def test_a_partition_that_is_resumed_runs_what_was_refused_behind_its_key(is_sending_ahead: bool) -> None:
    policy = WorkPolicy(on_exhausted=OnExhausted.PAUSE_PARTITION, is_timed=True, is_sending_ahead=is_sending_ahead)
    manager = manager_of(policy=policy)
    [first] = started(manager, "aa")
    returned(manager, first)
    [second] = manager.take(100, now=2.0)
    again = manager.outbox.take_back(first, 3)
    assert again is not None
    manager.exhaust(again)

    manager.resume(TP, "exhausted")

    assert manager.take(100, now=2.0) == []
    manager.succeed([second], 2.5)
    assert offsets_of(manager.take(100, now=2.0)) == [0]


def test_without_an_order_it_runs_again_at_once(manager: WorkManager) -> None:
    [item] = started(manager, "-")
    returned(manager, item)

    again = manager.outbox.take_back(item, 2)
    assert again is not None
    manager.cancel(again)

    assert offsets_of(manager.take(100, now=2.0)) == [0]


def test_the_end_of_the_assignment_forgets_what_is_not_written(manager: WorkManager) -> None:
    [item] = started(manager, "a")
    returned(manager, item)

    manager.end([(TP, 1)], is_lost=False)

    manager.outbox.written(item)
    assert manager.outbox.take_back(item, 2) is None
    assert (manager.in_flight, manager.load.messages) == (0, 0)


def test_what_returns_for_an_ended_assignment_is_for_nobody(manager: WorkManager) -> None:
    [item] = started(manager, "a")
    manager.end([(TP, 1)], is_lost=True)

    assert manager.outbox.await_writing([Unwritten(item, RECORDS, 1)], 2.0) == []
    assert manager.fenced_completions == 1


def test_going_back_forgets_what_is_not_written_from_there_on(manager: WorkManager) -> None:
    items = started(manager, "abcd")
    returned(manager, *items[1:3])

    manager.go_back(OffsetWentBack(TP, 1, 2, 2))

    picture = picture_of(manager)
    assert (picture.in_flight, picture.queued, manager.load.messages) == (1, 0, 1)
    manager.outbox.written(items[1])
    manager.succeed([items[0]], 3.0)
    assert only(manager.snapshots()).offset == 2


def test_returns_are_timed_once(manager: WorkManager) -> None:
    items = started(manager, "abc")
    returned(manager, *items, now=3.0)
    manager.outbox.written(items[0])
    again = manager.outbox.take_back(items[1], 2)
    assert again is not None
    manager.exhaust(again)
    manager.settle(again)

    latency = picture_of(manager).latency
    assert latency is not None
    assert (sum(latency.counts), latency.total_seconds) == (3, 6.0)
    assert all(count >= 0 for count in latency.counts)


def test_an_earlier_attempt_of_the_key_holds_back_what_runs_again() -> None:
    manager = manager_of()
    started(manager, "aba")
    manager.end([(TP, 1)], is_lost=True)
    manager.assign(assigned(epoch=2, start=1))
    manager.add(TP, 2, run_of({1: b"c"}))
    [other] = manager.take(10)
    manager.outbox.await_writing([Unwritten(other, RECORDS, 1)])
    again = manager.outbox.take_back(other, 2)
    assert again is not None

    manager.cancel(again)

    assert offsets_of(manager.take(10)) == [1]


def test_a_partition_that_is_kept_in_order_runs_it_again_behind_all_that_waits() -> None:
    manager = manager_of(policy=WorkPolicy(ordering=OrderingPolicy(OrderingMode.PARTITION), is_timed=True))
    [first] = started(manager, "abc")
    returned(manager, first)
    [second] = manager.take(10, now=2.0)
    again = manager.outbox.take_back(first, 2)
    assert again is not None

    manager.cancel(again)

    manager.succeed([second], 2.5)
    assert offsets_of(manager.take(10, now=3.0)) == [2]


def test_where_nothing_is_ordered_it_runs_again_at_once() -> None:
    manager = manager_of(policy=WorkPolicy(ordering=OrderingPolicy(OrderingMode.UNORDERED)))
    [first, *_] = started(manager, "aa")
    manager.outbox.await_writing([Unwritten(first, RECORDS, 1)])
    again = manager.outbox.take_back(first, 2)
    assert again is not None

    manager.cancel(again)

    assert offsets_of(manager.take(10)) == [0]


def test_a_poisoned_key_hears_of_what_returned() -> None:
    policy = WorkPolicy(poison=PoisonPolicy(1, 60.0))
    manager = manager_of(policy=policy)
    [first] = started(manager, "aa")
    manager.exhaust(first)
    manager.settle(first)
    manager.observe(61.0)
    [second] = manager.take(10)

    manager.outbox.await_writing([Unwritten(second, RECORDS, 1)])

    assert not manager.poison_keys


def test_what_waits_is_named_by_its_message(manager: WorkManager) -> None:
    [item] = started(manager, "a")
    unwritten = Unwritten(item, RECORDS, 1)

    assert "orders-0-0" in repr(unwritten)
    assert "orders-0-0 to out" in repr(Outgoing(unwritten, RECORDS[0], 1))
