"""A close look at a partition: its slowest keys, without the keys; bounded, and without any change of the work."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from pyrallel_consumer.control_plane.policies import OrderingPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import NullKeyOrdering, OrderingMode, TopicPartition
from pyrallel_consumer.observability.status.close_up import (
    MOST_KEYS,
    MOST_KEYS_IN_ALL,
    MOST_PARTITIONS,
    Order,
    PartitionCloseUp,
    UnderWay,
    close_up,
    close_up_of_all,
    fingerprint,
)
from pyrallel_consumer.observability.status.gap_window import OffsetState
from pyrallel_consumer.observability.status.read_times import ReadTimes
from tests.unit.control_plane.builders import OTHER, THIRD, TP, keyed, manager_of, run_of

SECRET = b"of this process"
NOTHING = UnderWay({}, (), ())


def look(
    manager: WorkManager,
    under_way: UnderWay = NOTHING,
    times: ReadTimes | None = None,
    now: float = 0.0,
    most_offsets: int = 1000,
) -> PartitionCloseUp:
    [work] = manager
    return close_up(work, under_way, times or ReadTimes(), now, most_offsets, secret=SECRET)


def test_the_keys_of_the_lowest_unfinished_offsets_come_first_and_with_what_waits_behind_them() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abaab")))
    [a, b] = manager.take(10)
    times = ReadTimes()
    times.look(1.0, [((TP, 1), 5)])
    keys = look(manager, UnderWay({a: (2, 3.5), b: (1, None)}, {b}, ()), times, now=10.0).keys
    assert [(key.offset, key.behind, key.state, key.attempt) for key in keys] == [
        (0, 2, OffsetState.RUNNING, 2),
        (1, 1, OffsetState.FAILING, 1),
    ]
    assert [key.running_seconds for key in keys] == [6.5, None]
    assert [key.read_seconds for key in keys] == [9.0, 9.0]
    assert {key.order for key in keys} == {Order.KEY}
    assert [key.fingerprint for key in keys] == [fingerprint(b"a", SECRET), fingerprint(b"b", SECRET)]


def test_a_key_is_shown_as_eight_digits_that_nobody_finds_by_trying_keys_without_the_secret() -> None:
    shown = fingerprint(b"customer-4711", SECRET)

    assert (len(shown), shown) == (8, fingerprint(b"customer-4711", SECRET))
    assert shown != fingerprint(b"customer-4712", SECRET)
    assert shown != fingerprint(b"customer-4711", b"another process")
    assert shown != blake2b(b"customer-4711", digest_size=4).hexdigest()


def test_what_was_read_just_now_has_been_read_for_no_time() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    assert [key.read_seconds for key in look(manager, now=99.0).keys] == [0.0]


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        (OrderingPolicy(OrderingMode.PARTITION), [(Order.PARTITION, 2)]),
        (OrderingPolicy(OrderingMode.UNORDERED), [(Order.NONE, 0), (Order.NONE, 0), (Order.NONE, 0)]),
        (OrderingPolicy(null_keys=NullKeyOrdering.PARTITION), [(Order.KEY, 1), (Order.KEY, 0)]),
        (OrderingPolicy(null_keys=NullKeyOrdering.UNORDERED), [(Order.NONE, 0), (Order.KEY, 0), (Order.NONE, 0)]),
    ],
)
def test_what_a_message_waits_with_follows_the_ordering(
    ordering: OrderingPolicy, expected: list[tuple[Order, int]]
) -> None:
    manager = manager_of(policy=WorkPolicy(ordering))
    manager.add(TP, 1, run_of(keyed(0, "-a-")))
    assert [(key.order, key.behind) for key in look(manager).keys] == expected


def test_a_look_is_bounded_and_says_what_it_did_not_see() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abcdefghij")))
    picture = look(manager, most_offsets=4)
    assert (picture.window.top, picture.window.unseen) == (4, 6)
    assert picture.window.counts == {OffsetState.QUEUED: (1, 1, 1, 1)}
    assert len(look(manager).keys) == MOST_KEYS


def test_the_window_begins_at_the_committed_offset_not_at_the_lowest_unfinished_one() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    manager.succeed(manager.take(2))
    window = look(manager).window
    assert (window.base, window.top) == (0, 3)
    [snapshot] = manager.snapshots()
    manager.confirm(snapshot)
    assert look(manager).window.base == 2


def test_partitions_share_the_look_and_the_full_ones_have_what_the_others_do_not_need() -> None:
    manager = manager_of(TP, OTHER, THIRD)
    for epoch, (tp, messages) in enumerate([(TP, 50), (OTHER, 2), (THIRD, 50)], start=1):
        manager.add(tp, epoch, run_of(keyed(0, "a" * messages), tp))
    picture = close_up_of_all(list(manager), NOTHING, ReadTimes(), 5.0, most_offsets=42, secret=SECRET)
    assert picture.taken_at == 5.0
    assert [each.tp for each in picture.partitions] == [THIRD, TP, OTHER]
    seen = {each.tp: sum(map(sum, each.window.counts.values())) for each in picture.partitions}
    assert seen == {TP: 20, OTHER: 2, THIRD: 20}
    assert {each.tp: each.window.unseen for each in picture.partitions} == {TP: 30, OTHER: 0, THIRD: 30}


def test_a_close_up_of_many_partitions_shows_the_first_ones_and_says_how_many_it_leaves_out() -> None:
    tps = [TopicPartition("orders", partition) for partition in range(MOST_PARTITIONS + 7)]
    picture = close_up_of_all(list(manager_of(*tps)), NOTHING, ReadTimes(), 0.0, secret=SECRET)
    assert [each.tp for each in picture.partitions] == tps[:MOST_PARTITIONS]
    assert (picture.left_out, picture.keys) == (7, ())


def test_the_slowest_keys_of_all_partitions_come_in_the_order_of_how_long_they_are_here_or_run() -> None:
    manager = manager_of(TP, OTHER, THIRD)
    for epoch, tp in enumerate([TP, OTHER, THIRD], start=1):
        manager.add(tp, epoch, run_of(keyed(0, "abcde"), tp))
    times = ReadTimes()
    times.look(1.0, [((OTHER, 2), 5)])
    times.look(4.0, [((OTHER, 2), 5), ((THIRD, 3), 5)])
    [item] = manager.take(1)
    keys = close_up_of_all(list(manager), UnderWay({item: (1, 2.0)}, (), ()), times, now=6.0, secret=SECRET).keys
    assert len(keys) == MOST_KEYS_IN_ALL
    assert [key.tp for key in keys[:6]] == [*[OTHER] * 5, TP]
    assert keys[5].running_seconds == 4.0
    assert [key.tp for key in keys[6:11]] == [THIRD] * 5
