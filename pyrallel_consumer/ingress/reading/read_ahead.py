"""Messages that were read and not delivered yet, by partition: the client gives long runs of one partition at a time,
and the loop needs messages of all.

Belongs to the poll thread. Bounded in messages and in bytes; the loop's credit is served to the partitions in turn.
Offsets that come again cut the kept messages, so the loop always knows every epoch that it will be asked about.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import Delivered, OffsetWentBack
from pyrallel_consumer.control_plane.size_estimate import SizeEstimate, beside_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrallel_consumer.control_plane.policies import FlowLimits
    from pyrallel_consumer.dto import Message, TopicPartition

LOW = 0.9
"""When full, nothing is read until only this part of the bounds is occupied: reading few messages at a time costs more
per message."""

SPARED = 0.125
"""Part of the bounds that is reserved for partitions that are not held, however much is kept of held ones."""

LEAST_SLICE = 32
"""A partition gets at least this many messages at a time, although others may still come: it does not wait for them
endlessly."""


MANY_SLICE = 8
"""A partition gets at least this many messages at a time when hundreds have some: single messages cost more each."""


class _Pace(Enum):
    """How freely messages are delivered, depending on what the client has."""

    DRY = "the client had nothing more: no other partition is worth waiting for"
    FILLING = "the client goes on delivering: the next messages may be of another partition"
    FULL = "the read-ahead is full"


class _PartitionRuns:
    """The kept messages of one partition: runs as they were read, each with its bytes."""

    __slots__ = ("epoch", "messages", "runs", "size_bytes", "tp")

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.epoch = 0
        self.runs: deque[tuple[list[Message], int]] = deque()
        self.messages = 0
        self.size_bytes = 0

    def put(self, run: list[Message], size_bytes: int) -> None:
        self.runs.append((run, size_bytes))
        self.messages += len(run)
        self.size_bytes += size_bytes

    def take(self, most: int) -> list[Message]:
        """Messages of one run; a part of a run counts the same part of its bytes."""
        run, size_bytes = self.runs.popleft()
        piece = run
        if len(run) > most:
            piece = run[:most]
            kept_bytes = size_bytes - size_bytes * most // len(run)
            del run[:most]
            self.runs.appendleft((run, kept_bytes))
            size_bytes -= kept_bytes
        self.messages -= len(piece)
        self.size_bytes -= size_bytes
        return piece

    def cut(self, offset: int) -> None:
        """Forget all messages from ``offset`` on; a part of a run counts the same part of its bytes."""
        runs, self.runs = self.runs, deque()
        self.messages = self.size_bytes = 0
        for run, size_bytes in runs:
            kept = [message for message in run if message.offset() < offset]
            if kept:
                self.put(kept, size_bytes * len(kept) // len(run))


class ReadAhead:
    """Keeps ``messages`` with ``size_bytes`` of keys, values and headers, including those of held partitions.

    When full, it is filled again after it has fallen to ``LOW``. Held partitions keep their messages. The others may
    always use ``SPARED`` of the bounds, so both together may exceed the bounds by that part.
    """

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self._kept: dict[TopicPartition, _PartitionRuns] = {}  # none of them is empty
        self._turns: deque[_PartitionRuns] = deque()  # of partitions that are not held, the next one first
        self._held: set[TopicPartition] = set()
        self._message_bytes = 0.0
        self._beside_values = SizeEstimate(beside_value)
        self._pace = _Pace.DRY
        self._given: Counter[TopicPartition] = Counter()  # since the client began to give
        self._given_in_all = 0
        self._is_full = False
        self._is_stopped = False
        self.messages = 0
        self.size_bytes = 0

    def __contains__(self, tp: TopicPartition) -> bool:
        return tp in self._kept

    @property
    def has_ready(self) -> bool:
        """Whether there are messages that may be delivered."""
        return bool(self._turns) and not self._is_stopped

    @property
    def room(self) -> int:
        """How many more messages may be read now. One, while the size of messages is unknown."""
        part, others = self._part(self.messages, self.size_bytes), self._ready_part()
        if self._is_full:
            self._is_full = part > LOW and others > SPARED / 2
        else:
            self._is_full = part >= 1.0 and others >= SPARED
        if self._is_full:
            self._pace = _Pace.FULL
            return 0
        if not self._message_bytes:
            return 1
        free = max(1.0 - part, SPARED - others)
        return max(1, int(min(free * self._limits.max_messages, free * self._limits.max_bytes / self._message_bytes)))

    def put(self, facts: Iterable[Delivered | OffsetWentBack]) -> list[OffsetWentBack]:
        """Keep the read messages, in their order; returns the facts that the loop must get now.

        Messages that the loop never got cannot go back: a new epoch begins at the first kept offset, if that is lower.
        """
        if self._pace is _Pace.DRY:
            self._pace = _Pace.FILLING
            self._given.clear()
            self._given_in_all = 0
        told = []
        for fact in facts:
            if isinstance(fact, Delivered):
                self._keep(fact)
            else:
                told.append(self._go_back(fact))
        return told

    def run_dry(self) -> None:
        """The client has nothing more at the moment."""
        self._pace = _Pace.DRY

    def take(self, credit: int, partitions: int) -> list[Delivered]:
        """At most ``credit`` messages, to be delivered in this order: of each partition in turn, in equal parts.

        While more partitions may come, each of the assigned ``partitions`` gets little more than its share of the
        credit since the client began to deliver.
        """
        facts: list[Delivered] = []
        turns = self._turns
        is_filling = self._pace is _Pace.FILLING
        fair = (credit + self._given_in_all) // max(1, partitions)
        while credit > 0 and self.has_ready:
            share = max(credit // len(turns), min(MANY_SLICE, 1 + len(turns) // 64))
            for _ in range(min(len(turns), credit)):
                kept = turns.popleft()
                most = min(share, max(LEAST_SLICE, fair - self._given[kept.tp])) if is_filling else share
                credit -= self._serve(kept, most, facts)
            if is_filling:
                break
        return facts

    def hold(self, tp: TopicPartition) -> None:
        """Deliver nothing of ``tp`` until ``resume``."""
        self._held.add(tp)
        kept = self._kept.get(tp)
        if kept is not None and kept in self._turns:
            self._turns.remove(kept)

    def resume(self, tp: TopicPartition) -> None:
        """Undo a ``hold``. No effect if there is none."""
        if tp in self._held:
            self._held.remove(tp)
            kept = self._kept.get(tp)
            if kept is not None:
                self._turns.append(kept)

    def drop(self, tps: Iterable[TopicPartition]) -> None:
        """Forget the messages of partitions, and that they were held: they are no longer assigned."""
        for tp in tps:
            kept = self._kept.get(tp)
            if kept is not None:
                self._count(kept, -1)
                self._remove(kept)
            self._held.discard(tp)
            self._given_in_all -= self._given.pop(tp, 0)

    def stop(self) -> None:
        """Deliver nothing more, whatever is kept."""
        self._is_stopped = True

    def _serve(self, kept: _PartitionRuns, most: int, facts: list[Delivered]) -> int:
        """``kept`` has been taken out of the turns; returns how many messages it gave."""
        self._count(kept, -1)
        left = most
        while left and kept.runs:
            piece = kept.take(left)
            left -= len(piece)
            facts.append(Delivered(kept.tp, kept.epoch, piece))
        self._count(kept, 1)
        self._given[kept.tp] += most - left
        self._given_in_all += most - left
        if kept.runs:
            self._turns.append(kept)
        else:
            del self._kept[kept.tp]
        return most - left

    def _keep(self, fact: Delivered) -> None:
        kept = self._kept.get(fact.tp)
        if kept is None:
            kept = self._kept[fact.tp] = _PartitionRuns(fact.tp)
            if fact.tp not in self._held:
                self._turns.append(kept)
        size_bytes = sum(map(len, fact.messages)) + self._beside_values.of_new(fact.messages)
        kept.epoch = fact.epoch
        kept.put(fact.messages, size_bytes)
        self.messages += len(fact.messages)
        self.size_bytes += size_bytes
        mean = max(1.0, size_bytes / len(fact.messages))
        self._message_bytes = max(mean, self._message_bytes + (mean - self._message_bytes) / 16)

    def _go_back(self, fact: OffsetWentBack) -> OffsetWentBack:
        kept = self._kept.get(fact.tp)
        if kept is None:
            return fact
        first = kept.runs[0][0][0]
        self._count(kept, -1)
        kept.cut(fact.offset)
        kept.epoch = fact.epoch
        self._count(kept, 1)
        if not kept.runs:
            self._remove(kept)
        if first.offset() >= fact.offset:
            return fact
        return replace(fact, offset=first.offset(), leader_epoch=first.leader_epoch())

    def _remove(self, kept: _PartitionRuns) -> None:
        del self._kept[kept.tp]
        if kept.tp not in self._held:
            self._turns.remove(kept)

    def _count(self, kept: _PartitionRuns, sign: int) -> None:
        self.messages += sign * kept.messages
        self.size_bytes += sign * kept.size_bytes

    def _part(self, messages: int, size_bytes: int) -> float:
        """The part of the bounds that this load occupies."""
        return max(messages / self._limits.max_messages, size_bytes / self._limits.max_bytes)

    def _ready_part(self) -> float:
        """The part of the bounds that partitions occupy which are not held."""
        held = [self._kept[tp] for tp in self._held if tp in self._kept]
        held_messages, held_bytes = sum(kept.messages for kept in held), sum(kept.size_bytes for kept in held)
        return self._part(self.messages - held_messages, self.size_bytes - held_bytes)
