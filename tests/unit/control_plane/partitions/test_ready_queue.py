"""What may start in a partition: unsorted while everything could start, lowest offsets first when slots are short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.partitions.ready_queue import ReadyQueue
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.testing import work_item

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.lists(st.integers(0, 1000), max_size=8), st.just(0)),
        st.tuples(st.just("deliver"), st.lists(st.integers(1, 50), max_size=8), st.just(0)),
        st.tuples(st.just("take"), st.integers(0, 6), st.integers(0, 10)),
        st.tuples(st.just("discard"), st.integers(0, 1000), st.just(0)),
    ),
    max_size=30,
)


def queue_of(*offsets: int) -> ReadyQueue:
    queue = ReadyQueue()
    queue.arrived.extend(work_item(offset=offset) for offset in offsets)
    return queue


def delivered(*offsets: int) -> ReadyQueue:
    queue = ReadyQueue()
    queue.delivered.extend(work_item(offset=offset) for offset in offsets)
    return queue


def offsets_of(items: list[WorkItem]) -> list[int]:
    return [item.offset for item in items]


def test_items_go_out_as_they_came_while_all_could_start() -> None:
    queue = queue_of(3, 1, 2)

    assert offsets_of(queue.take(2, slots=3)) == [3, 1]
    assert offsets_of(queue.take(2, slots=1)) == [2]
    assert len(queue) == 0


def test_the_lowest_offsets_go_out_first_when_slots_are_short() -> None:
    queue = queue_of(3, 1, 2)

    assert offsets_of(queue.take(2, slots=2)) == [1, 2]
    queue.arrived.append(work_item(offset=0))
    assert offsets_of(queue.take(5, slots=5)) == [0, 3]


def test_two_tickets_of_one_offset_go_out_one_after_the_other() -> None:
    queue = queue_of(2, 2, 1, 2)

    assert offsets_of(queue.take(2, slots=2)) == [1, 2]
    assert offsets_of(queue.take(2, slots=2)) == [2, 2]


def test_what_is_delivered_and_what_arrives_out_of_turn_go_out_in_one_order() -> None:
    queue = delivered(2, 4, 6)
    queue.arrived.extend(work_item(offset=offset) for offset in (5, 3, 9))

    assert offsets_of(queue.take(3, slots=3)) == [2, 3, 4]
    assert offsets_of(queue.take(9, slots=9)) == [5, 6, 9]


def test_what_is_delivered_goes_out_before_what_arrived_while_all_could_start() -> None:
    queue = delivered(2, 4)
    queue.arrived.append(work_item(offset=1))

    assert offsets_of(queue.take(1, slots=3)) == [2]
    assert offsets_of(queue.take(2, slots=2)) == [4, 1]


def test_discarded_items_are_gone_and_counted_sorted_or_not() -> None:
    queue = queue_of(5, 4, 3, 2, 1)
    queue.take(1, slots=1)
    queue.arrived.append(work_item(offset=9))

    assert queue.discard(lambda item: item.offset % 2 == 0) == 2
    assert offsets_of(queue.take(9, slots=1)) == [3, 5, 9]


@given(STEPS)  # an offset is never twice in the queue: a message that is read again was discarded before
def test_every_item_comes_out_once_and_never_behind_a_higher_one_when_slots_are_short(
    steps: list[tuple[str, list[int] | int, int]],
) -> None:
    queue = ReadyQueue()
    inside: set[WorkItem] = set()
    top = 1000
    for step, what, slots in steps:
        if step == "deliver" and isinstance(what, list):
            for distance in what:
                top += distance
                queue.delivered.append(work_item(offset=top))
                inside.add(queue.delivered[-1])
        elif isinstance(what, list):
            items = [work_item(offset=offset) for offset in set(what) - {item.offset for item in inside}]
            queue.arrived.extend(items)
            inside.update(items)
        elif step == "take":
            was_short = len(inside) > slots
            lowest = sorted(offsets_of(list(inside)))[:what]
            taken = queue.take(what, max(what, slots))
            assert len(taken) == min(what, len(inside))
            assert inside.issuperset(taken)
            inside.difference_update(taken)
            if was_short and slots >= what:
                assert offsets_of(taken) == lowest
        else:
            matching = {item for item in inside if item.offset < what}
            assert queue.discard(lambda item, limit=what: item.offset < limit) == len(matching)  # type: ignore[misc]
            inside -= matching
        assert len(queue) == len(inside)
