"""The poll thread's assignments: epochs that never repeat, reads sorted by partition, offsets that come twice."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyrallel_consumer.control_plane.events import Assigned, Delivered, OffsetWentBack, PositionAdvanced
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.testing import PlainMessage

A0, A1, B0 = TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)


def start(tp: TopicPartition, offset: int = 0, top: int | None = None) -> Start:
    return Start(tp, offset, OffsetMap(offset, offset if top is None else top))


def messages(tp: TopicPartition, *offsets: int, leader_epoch: int | None = None) -> list[PlainMessage]:
    return [PlainMessage(tp.topic, tp.partition, offset, leader_epoch=leader_epoch) for offset in offsets]


def told(facts: Iterable[Delivered | OffsetWentBack]) -> list[tuple[object, ...]]:
    return [
        (fact.tp, fact.epoch, [message.offset() for message in fact.messages])
        if isinstance(fact, Delivered)
        else ("went back", fact.tp, fact.old_epoch, fact.epoch, fact.offset)
        for fact in facts
    ]


def test_each_assigned_partition_gets_an_epoch_of_its_own_and_its_start() -> None:
    assignments = Assignments()

    assigned = assignments.assign([start(A0, 5, top=9), start(A1)], uncommitted={A1})

    assert assigned == [
        Assigned(A0, 1, 5, OffsetMap(5, 9), is_committed=True),
        Assigned(A1, 2, 0, OffsetMap(0, 0), is_committed=False),
    ]
    assert list(assignments) == [A0, A1]
    assert len(assignments) == 2


def test_a_partition_that_comes_back_has_a_new_epoch_and_the_old_one_is_not_current() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])

    assert assignments.release([A0, B0]) == [(A0, 1)]
    assert assignments.epoch_of(A0) is None
    assert not assignments.is_current(A0, 1)
    assignments.assign([start(A0)])
    assert assignments.is_current(A0, 2)
    assert not assignments.is_current(A0, 1)


def test_a_read_is_sorted_by_partition_in_order_and_stamped() -> None:
    assignments = Assignments()
    assignments.assign([start(A0), start(B0)])

    facts = assignments.split([*messages(A0, 0, 1), *messages(B0, 0), *messages(A0, 5), *messages(B0, 1)])

    assert told(facts) == [(A0, 1, [0, 1, 5]), (B0, 2, [0, 1])]


def test_messages_of_partitions_that_are_not_assigned_are_dropped() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])

    assert told(assignments.split([*messages(B0, 7, 8), *messages(A0, 0), *messages(A1, 3)])) == [(A0, 1, [0])]
    assert assignments.split(messages(B0, 9)) == []
    assert assignments.split([]) == []


def test_an_offset_that_comes_a_second_time_begins_a_new_epoch_between_the_pieces() -> None:
    assignments = Assignments()
    assignments.assign([start(A0), start(B0)])

    facts = assignments.split([*messages(A0, 0, 1, 2), *messages(B0, 0), *messages(A0, 1, 2), *messages(B0, 1)])

    assert told(facts) == [(A0, 1, [0, 1, 2]), (B0, 2, [0, 1]), ("went back", A0, 1, 3, 1), (A0, 3, [1, 2])]
    assert assignments.is_current(A0, 3)


def test_an_offset_below_the_start_or_the_last_read_is_one_that_went_back() -> None:
    assignments = Assignments()
    assignments.assign([start(A0, 10)])

    assert told(assignments.split(messages(A0, 4))) == [("went back", A0, 1, 2, 4), (A0, 2, [4])]
    assert told(assignments.split(messages(A0, 4))) == [("went back", A0, 2, 3, 4), (A0, 3, [4])]


def test_the_next_offset_is_the_start_and_then_the_one_after_the_last_delivered() -> None:
    assignments = Assignments()
    assignments.assign([start(A0, 7)])
    at_first = assignments.next_offset_of(A0)

    assignments.split(messages(A0, 8, 12))

    assert (at_first, assignments.next_offset_of(A0), assignments.next_offset_of(B0)) == (7, 13, None)


def test_the_position_is_news_only_beyond_what_was_delivered_and_told() -> None:
    assignments = Assignments()
    assignments.assign([start(A0, 10)])

    assert assignments.advance(A0, 10) is None
    assert assignments.advance(A0, 12) == PositionAdvanced(A0, 1, 12)
    assert assignments.advance(A0, 12) is None
    assignments.split(messages(A0, 14))
    assert assignments.advance(A0, 15) is None
    assert assignments.advance(A0, 16, 7) == PositionAdvanced(A0, 1, 16, 7)
    assert assignments.advance(B0, 16) is None


def test_an_offset_below_a_position_that_was_told_is_one_that_went_back() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])
    assignments.split(messages(A0, 0))
    assignments.advance(A0, 20)

    assert told(assignments.split(messages(A0, 15))) == [("went back", A0, 1, 2, 15), (A0, 2, [15])]


def test_the_next_offset_is_the_start_then_what_follows_the_last_one_delivered_or_told() -> None:
    assignments = Assignments()
    assert assignments.next_offset_of(A0) is None
    assignments.assign([start(A0, 5)])
    assert assignments.next_offset_of(A0) == 5
    assignments.split(messages(A0, 7))
    assert assignments.next_offset_of(A0) == 8
    assignments.advance(A0, 10)
    assert assignments.next_offset_of(A0) == 10


def test_after_going_back_the_position_is_news_from_there_on() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])
    assignments.split(messages(A0, 8))
    assignments.advance(A0, 20)
    assignments.split(messages(A0, 3))

    assert assignments.advance(A0, 5) == PositionAdvanced(A0, 2, 5)


def test_what_went_back_carries_the_leader_epoch_of_the_record_that_came_again() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])
    assignments.split(messages(A0, 0, 1, leader_epoch=5))

    facts = assignments.split(messages(A0, 1, leader_epoch=6))

    assert [fact.leader_epoch for fact in facts if isinstance(fact, OffsetWentBack)] == [6]


def test_records_that_go_back_by_offset_or_leader_epoch_are_odd_once() -> None:
    assignments = Assignments()
    assignments.assign([start(A0), start(A1), start(B0)])
    assignments.split([*messages(A0, 0, leader_epoch=5), *messages(A1, 0, leader_epoch=5), *messages(B0, 0)])
    assert assignments.take_odd() == set()

    assignments.split([*messages(A0, 1, leader_epoch=4), *messages(A1, 1, leader_epoch=6), *messages(B0, 0)])

    assert assignments.take_odd() == {A0, B0}
    assert assignments.take_odd() == set()


def test_a_log_that_was_made_anew_begins_a_new_epoch_at_its_first_offset() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])
    assignments.split(messages(A0, 0, 1, leader_epoch=5))

    assert told(assignments.begin_anew(A0)) == [("went back", A0, 1, 2, 0)]
    assert assignments.begin_anew(A1) == []
    assert told(assignments.split(messages(A0, 7, leader_epoch=0))) == [(A0, 2, [7])]


def test_a_position_of_before_a_log_was_made_anew_is_no_news() -> None:
    assignments = Assignments()
    assignments.assign([start(A0, 900)])
    assignments.begin_anew(A0)

    assert assignments.advance(A0, 900) is None
    assignments.split(messages(A0, 0))
    assert assignments.advance(A0, 5) == PositionAdvanced(A0, 2, 5)


def test_all_of_a_log_is_read_where_an_epoch_began_at_its_first_offset() -> None:
    assignments = Assignments()
    assignments.assign([start(A0), start(A1, 7)])
    before = assignments.latest_epoch

    def have_begun(*tps: TopicPartition, after: int, assigned_after: int) -> list[bool]:
        return [assignments.has_begun(tp, after, assigned_after=assigned_after) for tp in tps]

    assert have_begun(A0, A1, B0, after=before, assigned_after=0) == [True, False, False]
    assert have_begun(A0, after=0, assigned_after=before) == [False]
    assignments.split([*messages(A0, 3, 2), *messages(A1, 7, 0)])
    assert have_begun(A0, A1, after=before, assigned_after=before + 9) == [False, True]
    assignments.begin_anew(A0)
    assert have_begun(A0, after=before, assigned_after=before + 9) == [True]


def test_the_epoch_itself_is_not_later_than_itself() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])

    assert not assignments.has_begun(A0, 0, assigned_after=assignments.latest_epoch)


def test_records_of_the_same_leader_have_not_gone_back() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])
    assignments.split(messages(A0, 0, 1, leader_epoch=5))
    assignments.split(messages(A0, 2, 3, leader_epoch=5))

    assert assignments.take_odd() == set()


def test_the_first_records_of_a_log_made_anew_have_gone_back_from_no_leader() -> None:
    assignments = Assignments()
    assignments.assign([start(A0)])
    assignments.split(messages(A0, 0, 1, leader_epoch=5))
    assignments.begin_anew(A0)
    assignments.take_odd()

    assignments.split(messages(A0, 0, leader_epoch=0))

    assert assignments.take_odd() == set()


class AssignmentsModel(RuleBasedStateMachine):
    """Any reads over three partitions: the loop that takes the facts in their order sees ascending offsets."""

    @initialize()
    def begin(self) -> None:
        self.assignments = Assignments()
        self.epochs: dict[TopicPartition, int] = {}
        self.next_offsets: dict[TopicPartition, int] = {}
        self.highest_epoch = 0
        self.awaited: set[TopicPartition] = set()

    @precondition(lambda self: len(self.epochs) < 3)
    @rule(data=st.data(), offset=st.integers(0, 20))
    def assign(self, data: st.DataObject, offset: int) -> None:
        tp = data.draw(st.sampled_from([tp for tp in (A0, A1, B0) if tp not in self.epochs]))
        (assigned,) = self.assignments.assign([start(tp, offset)])
        assert assigned.epoch > self.highest_epoch
        self.highest_epoch = self.epochs[tp] = assigned.epoch
        self.next_offsets[tp] = assigned.start_offset
        self.awaited.discard(tp)

    @rule(tp=st.sampled_from([A0, A1, B0]))
    def begin_anew(self, tp: TopicPartition) -> None:
        facts = self.assignments.begin_anew(tp)
        if tp not in self.epochs:
            assert facts == []
            return
        (fact,) = facts
        assert (fact.old_epoch, fact.offset) == (self.epochs[tp], 0)
        assert fact.epoch > self.highest_epoch
        self.highest_epoch = self.epochs[tp] = fact.epoch
        self.next_offsets[tp] = 0
        self.awaited.add(tp)

    @precondition(lambda self: self.epochs)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        tps = data.draw(st.lists(st.sampled_from([A0, A1, B0]), unique=True))
        ended = self.assignments.release(tps)
        assert ended == [(tp, self.epochs[tp]) for tp in tps if tp in self.epochs]
        for tp, _ in ended:
            del self.epochs[tp]

    @rule(read=st.lists(st.tuples(st.sampled_from([A0, A1, B0]), st.integers(-3, 3)), max_size=15))
    def split(self, read: list[tuple[TopicPartition, int]]) -> None:
        cursor = dict(self.next_offsets)
        batch, expected = [], []
        for tp, step in read:
            offset = max(0, cursor.get(tp, 0) + step)
            cursor[tp] = offset + 1
            batch.append(PlainMessage(tp.topic, tp.partition, offset))
            if tp in self.epochs:
                expected.append((tp, offset))
        seen = []
        for fact in self.assignments.split(batch):
            if isinstance(fact, OffsetWentBack):
                assert fact.old_epoch == self.epochs[fact.tp]
                assert fact.epoch > self.highest_epoch
                assert fact.offset < self.next_offsets[fact.tp]
                self.highest_epoch = self.epochs[fact.tp] = fact.epoch
                self.next_offsets[fact.tp] = fact.offset
                continue
            assert fact.epoch == self.epochs[fact.tp]
            assert fact.messages
            for message in fact.messages:
                assert message.offset() >= self.next_offsets[fact.tp]
                self.next_offsets[fact.tp] = message.offset() + 1
                self.awaited.discard(fact.tp)
                seen.append((fact.tp, message.offset()))
        for tp in self.epochs:
            assert [pair for pair in seen if pair[0] == tp] == [pair for pair in expected if pair[0] == tp]
        assert len(seen) == len(expected)

    @rule(tp=st.sampled_from([A0, A1, B0]), by=st.integers(-2, 4))
    def advance(self, tp: TopicPartition, by: int) -> None:
        position = self.next_offsets.get(tp, 0) + by
        fact = self.assignments.advance(tp, position)
        if tp in self.epochs and by > 0 and tp not in self.awaited:
            assert fact == PositionAdvanced(tp, self.epochs[tp], position)
            self.next_offsets[tp] = position
        else:
            assert fact is None

    @invariant()
    def the_book_knows_who_is_assigned_and_under_which_epoch(self) -> None:
        assert set(self.assignments) == set(self.epochs)
        assert len(self.assignments) == len(self.epochs)
        for tp in (A0, A1, B0):
            assert self.assignments.epoch_of(tp) == self.epochs.get(tp)


TestAssignmentsModel = AssignmentsModel.TestCase
TestAssignmentsModel.settings = settings(max_examples=150, stateful_step_count=30)
