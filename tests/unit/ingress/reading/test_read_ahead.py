"""Messages read ahead: handed on in turn within their bounds, cut by repeated offsets, dropped at a revoke."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyrallel_consumer.control_plane.events import Delivered, OffsetWentBack
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.testing import PlainMessage

A, B, C = (TopicPartition("orders", partition) for partition in range(3))
ROOMY = FlowLimits(max_messages=1000, max_bytes=1 << 20)
EPOCHS = {A: 1, B: 2, C: 3}


def run(tp: TopicPartition, *offsets: int, size_bytes: int = 1, epoch: int | None = None) -> Delivered:
    messages = [PlainMessage(tp.topic, tp.partition, offset, None, b"x" * size_bytes) for offset in offsets]
    return Delivered(tp, EPOCHS[tp] if epoch is None else epoch, list(messages))


def told(facts: Iterable[Delivered]) -> list[tuple[TopicPartition, int, list[int]]]:
    return [(fact.tp, fact.epoch, [message.offset() for message in fact.messages]) for fact in facts]


def emptied(kept: ReadAhead) -> list[tuple[TopicPartition, int, list[int]]]:
    """Everything that may be handed on."""
    kept.run_dry()
    return told(kept.take(10_000, 3))


# Handing on


def test_what_one_read_brought_is_handed_on_as_it_is() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 0, 1, 2), run(B, 5)])

    assert told(kept.take(100, 2)) == [(A, 1, [0, 1, 2]), (B, 2, [5])]
    assert (kept.has_ready, kept.messages, kept.size_bytes, A in kept) == (False, 0, 0, False)


def test_a_credit_that_is_too_small_for_all_is_shared_alike() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, *range(10)), run(B, 0), run(C, *range(10))])

    assert told(kept.take(9, 3)) == [(A, 1, [0, 1, 2]), (B, 2, [0]), (C, 3, [0, 1, 2])]
    kept.run_dry()
    assert told(kept.take(5, 3)) == [(A, 1, [3, 4]), (C, 3, [3, 4]), (A, 1, [5])]
    assert told(kept.take(0, 3)) == []
    assert kept.messages == 9


def test_what_a_partition_leaves_of_its_share_goes_to_the_others() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 0), run(B, *range(20))])
    kept.run_dry()

    assert told(kept.take(10, 2)) == [(A, 1, [0]), (B, 2, [0, 1, 2, 3, 4]), (B, 2, [5, 6, 7, 8])]


def test_with_less_credit_than_partitions_each_gets_its_turn() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 0, 1), run(B, 0, 1), run(C, 0, 1)])

    handed_on = [told(kept.take(1, 3)) for _ in range(4)]

    assert handed_on == [[(A, 1, [0])], [(B, 2, [0])], [(C, 3, [0])], [(A, 1, [1])]]


def test_several_runs_of_a_partition_are_handed_on_in_their_order() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 0, 1, size_bytes=10)])
    kept.put([run(A, 2, 3, 7)])

    assert told(kept.take(3, 1)) == [(A, 1, [0, 1]), (A, 1, [2])]
    assert (kept.messages, kept.size_bytes) == (2, 2)
    assert emptied(kept) == [(A, 1, [3, 7])]
    assert (kept.messages, kept.size_bytes) == (0, 0)


def test_while_the_client_gives_on_the_first_partition_gets_its_part_only() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, *range(900))])
    handed_on = kept.take(800, 8) + kept.take(700, 8)
    kept.put([run(B, *range(900))])
    handed_on += kept.take(668, 8)

    assert [(fact.tp, len(fact.messages)) for fact in handed_on] == [(A, 100), (A, 32), (A, 32), (B, 100)]
    assert kept.messages == 1536


def test_what_it_had_before_the_client_ran_dry_is_not_held_against_a_partition() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, *range(300))])
    kept.take(800, 8)
    emptied(kept)
    kept.put([run(A, *range(300, 600))])

    assert [len(fact.messages) for fact in kept.take(800, 8)] == [100]


def test_once_the_client_has_nothing_more_nobody_is_waited_for() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, *range(100))])
    kept.run_dry()

    assert told(kept.take(400, 8)) == [(A, 1, list(range(100)))]


def test_once_it_is_full_nobody_is_waited_for() -> None:
    kept = ReadAhead(FlowLimits(100, 1 << 20))
    kept.put([run(A, *range(100))])

    assert kept.room == 0
    assert told(kept.take(400, 8)) == [(A, 1, list(range(100)))]


def test_after_a_stop_nothing_is_handed_on_and_it_is_known_that_there_is_something() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 0)])
    kept.stop()

    assert (kept.take(10, 1), kept.has_ready, A in kept) == ([], False, True)


# Bounds


def test_one_message_is_read_until_it_is_known_how_large_they_are() -> None:
    kept = ReadAhead(FlowLimits(1000, 1000))
    unknown = kept.room
    kept.put([run(A, 0, size_bytes=100)])

    assert (unknown, kept.room) == (1, 9)


def test_larger_messages_are_believed_at_once_and_smaller_ones_by_and_by() -> None:
    kept = ReadAhead(FlowLimits(1000, 1000))
    kept.put([run(A, 0, size_bytes=100)])
    emptied(kept)
    kept.put([run(A, 1, size_bytes=20)])
    emptied(kept)
    shrinking = kept.room
    kept.put([run(A, 2, size_bytes=500)])
    emptied(kept)

    assert (shrinking, kept.room) == (10, 2)


def test_messages_without_a_value_count_as_messages() -> None:
    kept = ReadAhead(FlowLimits(100, 1000))
    kept.put([run(A, *range(40), size_bytes=0)])

    assert (kept.room, kept.size_bytes) == (60, 0)


@pytest.mark.parametrize("limits", [FlowLimits(100, 1 << 20), FlowLimits(1000, 1000)])
def test_a_full_one_is_filled_up_when_a_tenth_is_free(limits: FlowLimits) -> None:
    kept = ReadAhead(limits)
    rooms = []
    for offsets in (range(100), range(100, 110)):
        kept.put([run(A, *offsets, size_bytes=10)])
        rooms.append(kept.room)
        kept.take(9, 1)
        rooms.append(kept.room)
        kept.take(1, 1)
        rooms.append(kept.room)

    assert rooms == [0, 0, 9, 0, 0, 9]


def test_one_message_that_is_larger_than_the_bounds_is_read() -> None:
    kept = ReadAhead(FlowLimits(10, 10))
    kept.put([run(A, 0, size_bytes=50)])
    full = kept.room
    emptied(kept)

    assert (full, kept.room) == (0, 1)


# Held partitions


def test_a_held_partition_is_passed_over_until_it_is_resumed() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 0), run(B, 0)])
    kept.hold(A)
    kept.put([run(A, 1)])

    assert emptied(kept) == [(B, 2, [0])]
    assert (kept.has_ready, A in kept) == (False, True)

    kept.resume(A)
    assert emptied(kept) == [(A, 1, [0]), (A, 1, [1])]


def test_a_partition_may_be_held_before_anything_of_it_is_read() -> None:
    kept = ReadAhead(ROOMY)
    kept.hold(A)
    kept.resume(B)
    kept.put([run(A, 0)])
    held = emptied(kept)
    kept.drop([A])
    kept.put([run(A, 1)])
    kept.hold(B)
    kept.resume(B)

    assert (held, emptied(kept)) == ([], [(A, 1, [1])])


def test_held_partitions_leave_the_others_a_part_of_the_bounds() -> None:
    kept = ReadAhead(FlowLimits(80, 1 << 20))
    kept.put([run(A, *range(80))])
    full = kept.room
    kept.hold(A)
    beside = kept.room
    kept.put([run(B, *range(10))])
    full_again = kept.room
    kept.run_dry()
    kept.take(4, 1)
    still_full = kept.room
    kept.take(1, 1)

    assert (full, beside, full_again, still_full, kept.room) == (0, 10, 0, 0, 5)


# Offsets that come again, and partitions that go


def test_what_the_loop_has_had_goes_back_as_it_was_read() -> None:
    kept = ReadAhead(ROOMY)
    went_back = OffsetWentBack(A, 1, 4, 3)

    assert kept.put([went_back, run(A, 3, epoch=4)]) == [went_back]
    assert emptied(kept) == [(A, 4, [3])]


def test_what_is_kept_below_the_offset_stays_and_begins_the_new_epoch() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 5, 6), run(B, 0)])

    assert kept.put([run(A, 7, 8), OffsetWentBack(A, 1, 4, 6), run(A, 6, 7, epoch=4)]) == [OffsetWentBack(A, 1, 4, 5)]
    assert (kept.messages, kept.size_bytes) == (4, 4)
    assert sorted(emptied(kept)) == [(A, 4, [5]), (A, 4, [6, 7]), (B, 2, [0])]


def test_what_is_kept_above_the_offset_is_forgotten() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 5, 6), run(B, 0)])

    assert kept.put([OffsetWentBack(A, 1, 4, 2)]) == [OffsetWentBack(A, 1, 4, 2)]
    assert emptied(kept) == [(B, 2, [0])]
    assert kept.messages == 0


def test_a_held_partition_that_goes_back_stays_held() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 5, 6)])
    kept.hold(A)
    kept.put([OffsetWentBack(A, 1, 4, 2), run(A, 2, epoch=4)])
    held = emptied(kept)
    kept.resume(A)

    assert (held, emptied(kept)) == ([], [(A, 4, [2])])


def test_of_a_partition_that_went_nothing_is_handed_on() -> None:
    kept = ReadAhead(ROOMY)
    kept.put([run(A, 0, 1), run(B, 0), run(C, 0)])
    kept.hold(B)
    kept.drop([A, B, TopicPartition("bills", 0)])

    assert (kept.messages, kept.size_bytes) == (1, 1)
    assert emptied(kept) == [(C, 3, [0])]


class AgainstPlainLists(RuleBasedStateMachine):
    """Reads of three partitions, compared with a plain list of the messages that the loop must still get."""

    limits = FlowLimits(20, 60)

    def __init__(self) -> None:
        super().__init__()
        self.kept = ReadAhead(self.limits)
        self.assignments = Assignments()
        self.positions: dict[TopicPartition, int] = {}
        self.expected: dict[TopicPartition, list[int]] = defaultdict(list)
        self.handed_on: dict[TopicPartition, int] = {}
        self.loop_epochs: dict[TopicPartition, int] = {}
        self.held: set[TopicPartition] = set()

    @rule(tp=st.sampled_from([A, B, C]), is_ours=st.booleans())
    def move(self, tp: TopicPartition, is_ours: bool) -> None:
        self.assignments.release([tp])
        self.kept.drop([tp])
        self.held.discard(tp)
        self.expected[tp].clear()
        self.positions.pop(tp, None)
        self.loop_epochs.pop(tp, None)
        if is_ours:
            (assigned,) = self.assignments.assign([Start(tp, 10, OffsetMap(10, 10))])
            self.positions[tp] = self.handed_on[tp] = 10
            self.loop_epochs[tp] = assigned.epoch

    @rule(
        parts=st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers(1, 9), st.integers(-4, 2))),
        size_bytes=st.integers(0, 9),
    )
    def read(self, parts: list[tuple[TopicPartition, int, int]], size_bytes: int) -> None:
        left = self.kept.room
        messages = []
        for tp, most, jump in parts:
            if tp not in self.positions or tp in self.held or not left:
                continue
            first = max(0, self.positions[tp] + jump)
            offsets = range(first, first + min(most, left))
            left -= len(offsets)
            messages += [PlainMessage(tp.topic, tp.partition, offset, None, b"x" * size_bytes) for offset in offsets]
            self.positions[tp] = offsets.stop
            self.expected[tp] = [offset for offset in self.expected[tp] if offset < first] + list(offsets)
        for fact in self.kept.put(self.assignments.split(messages)):
            assert fact.old_epoch == self.loop_epochs[fact.tp]
            self.loop_epochs[fact.tp] = fact.epoch
            self.handed_on[fact.tp] = min(self.handed_on[fact.tp], fact.offset)

    @rule()
    def run_dry(self) -> None:
        self.kept.run_dry()

    @rule(credit=st.integers(0, 30))
    def take(self, credit: int) -> None:
        facts = self.kept.take(credit, len(self.assignments))

        assert sum(len(fact.messages) for fact in facts) <= credit
        for fact in facts:
            offsets = [message.offset() for message in fact.messages]
            assert fact.tp not in self.held
            assert fact.epoch == self.loop_epochs[fact.tp]
            assert offsets == self.expected[fact.tp][: len(offsets)]
            assert offsets[0] >= self.handed_on[fact.tp]
            self.handed_on[fact.tp] = offsets[-1] + 1
            del self.expected[fact.tp][: len(offsets)]

    @precondition(lambda self: self.positions)
    @rule(data=st.data())
    def hold_or_resume(self, data: st.DataObject) -> None:
        tp = data.draw(st.sampled_from(sorted(self.positions)))
        if tp in self.held:
            self.held.remove(tp)
            self.kept.resume(tp)
        else:
            self.held.add(tp)
            self.kept.hold(tp)

    @invariant()
    def counts_agree(self) -> None:
        assert self.kept.messages == sum(map(len, self.expected.values()))
        assert {tp for tp in (A, B, C) if tp in self.kept} == {tp for tp, left in self.expected.items() if left}
        assert self.kept.has_ready == any(left for tp, left in self.expected.items() if tp not in self.held)

    @invariant()
    def all_that_may_go_goes(self) -> None:
        if self.kept.messages == 0:
            assert self.kept.size_bytes == 0
            assert self.kept.room > 0


AgainstPlainLists.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstPlainLists = AgainstPlainLists.TestCase
