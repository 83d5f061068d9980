"""Which partitions are assigned now, and under which epoch: the poll thread's own record.

Epochs come from one counter of the consumer and never repeat. Every message is stamped here, and every commit, pause
and resume is checked here first. This class also notices offsets that come a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import Assigned, Delivered, OffsetWentBack, PositionAdvanced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pyrallel_consumer.dto import Message
    from pyrallel_consumer.ingress.reading.start_offset import Start

from pyrallel_consumer.dto import TopicPartition


class _Assignment:
    __slots__ = ("began_at", "epoch", "has_gone_back", "is_awaited", "leader_epoch", "next_offset", "tp")

    def __init__(self, tp: TopicPartition, epoch: int, start_offset: int) -> None:
        self.tp = tp
        self.epoch = epoch
        self.began_at = start_offset
        self.next_offset = start_offset
        self.leader_epoch = -1
        self.is_awaited = False
        self.has_gone_back = False
        """Its epoch began when its offsets went back, and not with the assignment."""


class Assignments:
    """The partitions assigned to this consumer, with the epoch of each."""

    def __init__(self) -> None:
        self._by_tp: dict[tuple[str, int], _Assignment] = {}
        self._epochs = 0
        self._odd: set[TopicPartition] = set()

    def assign(self, starts: Iterable[Start], uncommitted: Collection[TopicPartition] = ()) -> list[Assigned]:
        """Add partitions, each under a new epoch. ``uncommitted``: the commit of their start failed."""
        assigned = []
        for start in starts:
            epoch = self._next_epoch()
            self._by_tp[start.tp] = _Assignment(start.tp, epoch, start.offset)
            is_committed = start.tp not in uncommitted
            assigned.append(Assigned(start.tp, epoch, start.offset, start.restored, is_committed, start.leader_epoch))
        return assigned

    def release(self, tps: Iterable[TopicPartition]) -> list[tuple[TopicPartition, int]]:
        """Forget partitions; returns the ones that were assigned, each with the epoch that ended."""
        ended = ((tp, self._by_tp.pop(tp, None)) for tp in tps)
        return [(tp, assignment.epoch) for tp, assignment in ended if assignment is not None]

    def epoch_of(self, tp: TopicPartition) -> int | None:
        """The epoch of an assigned partition, None for any other."""
        assignment = self._by_tp.get(tp)
        return None if assignment is None else assignment.epoch

    def is_current(self, tp: TopicPartition, epoch: int) -> bool:
        """Whether ``tp`` is assigned now, under this epoch."""
        return self.epoch_of(tp) == epoch

    def next_offset_of(self, tp: TopicPartition) -> int | None:
        """The offset after the last delivered one, at first the start; None for a partition that is not assigned."""
        assignment = self._by_tp.get(tp)
        return None if assignment is None else assignment.next_offset

    @property
    def latest_epoch(self) -> int:
        """The epoch that began last, of any partition."""
        return self._epochs

    def has_begun(self, tp: TopicPartition, after_epoch: int, *, assigned_after: int) -> bool:
        """Whether a whole log of ``tp`` is read, from offset 0 on, under a later epoch.

        ``after_epoch`` counts if its offsets went back since it was assigned, else ``assigned_after``.
        """
        assignment = self._by_tp.get(tp)
        if assignment is None or assignment.began_at != 0:
            return False
        return assignment.epoch > (after_epoch if assignment.has_gone_back else assigned_after)

    def begin_anew(self, tp: TopicPartition) -> list[OffsetWentBack]:
        """The log of ``tp`` was created again: all knowledge of it is void, and reading begins at its beginning.

        Until the first message comes, the client's position is still the one in the old log, and is ignored.
        """
        assignment = self._by_tp.get(tp)
        if assignment is None:
            return []
        fact = self._go_back(assignment, 0, None)
        assignment.next_offset = 0
        assignment.leader_epoch = -1
        assignment.is_awaited = True
        return [fact]

    def take_odd(self) -> set[TopicPartition]:
        """The partitions whose records went back, by offset or leader epoch, since the last call."""
        odd, self._odd = self._odd, set()
        return odd

    def __iter__(self) -> Iterator[TopicPartition]:
        return iter([assignment.tp for assignment in self._by_tp.values()])

    def __len__(self) -> int:
        return len(self._by_tp)

    def split(self, messages: Sequence[Message]) -> list[Delivered | OffsetWentBack]:
        """Sort one read by partition and stamp it; deliver the result in its order.

        Messages keep their order within a partition. Messages of partitions that are not assigned are dropped: they
        were fetched for an assignment that has ended.
        """
        facts: list[Delivered | OffsetWentBack] = []
        pieces: dict[tuple[str, int], list[Message]] = {}
        topic, partition = "", -1
        assignment: _Assignment | None = None
        piece: list[Message] = []
        expected = 0
        for message in messages:
            if message.partition() != partition or message.topic() != topic:
                if assignment is not None:
                    self._end_piece(assignment, piece)
                topic, partition = place = message.topic(), message.partition()
                assignment = self._by_tp.get(place)
                if assignment is None:
                    topic, partition = "", -1
                    continue
                expected = assignment.next_offset
                known = pieces.get(place)
                piece = known if known is not None else self._begin_piece(place, assignment, pieces, facts)
            offset = message.offset()
            if offset < expected and assignment is not None:
                facts.append(self._go_back(assignment, offset, message.leader_epoch()))
                piece = self._begin_piece((topic, partition), assignment, pieces, facts)
            expected = offset + 1
            piece.append(message)
        if assignment is not None:
            self._end_piece(assignment, piece)
        return [fact for fact in facts if not isinstance(fact, Delivered) or fact.messages]

    def advance(self, tp: TopicPartition, position: int, leader_epoch: int | None = None) -> PositionAdvanced | None:
        """Note the client's position (exclusive); returns the fact if it is beyond the delivered messages.

        A later message below a reported position has gone back, because that position may be committed.
        """
        assignment = self._by_tp.get(tp)
        if assignment is None or position <= assignment.next_offset or assignment.is_awaited:
            return None
        assignment.next_offset = position
        return PositionAdvanced(tp, assignment.epoch, position, leader_epoch)

    def _end_piece(self, assignment: _Assignment, piece: Sequence[Message]) -> None:
        last = piece[-1]
        assignment.next_offset = last.offset() + 1
        assignment.is_awaited = False
        leader_epoch = last.leader_epoch()
        if leader_epoch is not None:
            if leader_epoch < assignment.leader_epoch:
                self._odd.add(assignment.tp)
            assignment.leader_epoch = leader_epoch

    @staticmethod
    def _begin_piece(
        place: tuple[str, int],
        assignment: _Assignment,
        pieces: dict[tuple[str, int], list[Message]],
        facts: list[Delivered | OffsetWentBack],
    ) -> list[Message]:
        piece: list[Message] = []
        pieces[place] = piece
        facts.append(Delivered(assignment.tp, assignment.epoch, piece))
        return piece

    def _go_back(self, assignment: _Assignment, offset: int, leader_epoch: int | None) -> OffsetWentBack:
        old_epoch = assignment.epoch
        assignment.epoch = self._next_epoch()
        assignment.began_at = offset
        assignment.has_gone_back = True
        self._odd.add(assignment.tp)
        return OffsetWentBack(assignment.tp, old_epoch, assignment.epoch, offset, leader_epoch)

    def _next_epoch(self) -> int:
        self._epochs += 1
        return self._epochs
