"""The loop's side of records, at least once: sends the records of workers, and completes offsets on acknowledgement.

A message whose worker returned keeps its offset until the broker has every record of it. A refused record makes its
message fail: it runs again after the usual wait, or ``on_exhausted`` decides. No message starts while more records wait
for the broker than the limits allow. ``RecordQueue`` and the work manager make the decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from pyrallel_consumer.control_plane.events import RecordAnswer
from pyrallel_consumer.control_plane.failures.letter_queue import LetterNotice, NoticeKind
from pyrallel_consumer.control_plane.output.record_queue import RecordQueue
from pyrallel_consumer.control_plane.output.unwritten import Outgoing, Unwritten
from pyrallel_consumer.control_plane.policies import OutputLimits
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.log import Log
from pyrallel_consumer.record import Delivery, OutputFigures, Records, size_bytes
from pyrallel_consumer.runtime.outcomes.refused_records import RefusedRecords

logger = Log("pyrallel_consumer.output")

_FAILS: Final = (
    "records cannot be produced to %s: %s (%s)%s; %d records wait, and the offsets of their messages stay uncommitted; "
    "it is tried again until it works"
)


class RecordProducer(Protocol):
    """Produces records, and returns ``RecordsAnswered`` through the loop's inbox; no method waits."""

    def produce(self, letters: Sequence[Outgoing]) -> None: ...


class RecordOutput:
    """Records of one consumer. Engines leave them in ``returned``; ``clock`` is the loop's."""

    def __init__(
        self,
        manager: WorkManager,
        producer: RecordProducer,
        returned: dict[WorkItem, tuple[int, Records]],
        refused: RefusedRecords,
        *,
        limits: OutputLimits,
        clock: Callable[[], float],
    ) -> None:
        self.queue = RecordQueue()
        self.refused = refused
        self._manager = manager
        self._producer = producer
        self._returned = returned
        self._limits = limits
        self._clock = clock
        self._sequence = 0
        self._unwritten: dict[WorkItem, Unwritten] = {}
        self._records = 0
        self._bytes = 0

    def __len__(self) -> int:
        """Messages whose records are on their way."""
        return len(self._unwritten)

    @property
    def waiting_records(self) -> int:
        """Records that the broker has not acknowledged."""
        return self._records

    def figures(self, now: float) -> OutputFigures:  # noqa: ARG002 -- as of ``TransactionOutput``
        """What operators see of it."""
        return OutputFigures(
            Delivery.AT_LEAST_ONCE, written=self.queue.sent, waiting=self._records, refused=self.refused.count
        )

    @property
    def is_full(self) -> bool:
        """Whether no message may start before the broker has accepted some of the waiting records."""
        return self._records >= self._limits.max_records or self._bytes >= self._limits.max_bytes

    @property
    def next_at(self) -> float | None:
        """When ``pump`` must be called at the latest, None if that depends on answers only."""
        return min((at for at in (self.queue.next_at, self.refused.next_at) if at is not None), default=None)

    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None:
        """The workers of these items returned: send their records; items without records are done."""
        returned = self._returned
        if not returned:
            self._manager.succeed(items, now)
            return
        plain: list[WorkItem] = []
        unwritten: list[Unwritten] = []
        for item in items:
            found = returned.pop(item, None)
            if found is None:
                plain.append(item)
            else:
                attempt, records = found
                unwritten.append(Unwritten(item, records, attempt, size_bytes=size_bytes(records)))
        self._manager.succeed(plain, now)
        for each in self._manager.outbox.await_writing(unwritten, now):
            self._send(each)

    def pump(self) -> None:
        """Send the records that are due, and run refused messages again whose wait is over."""
        now = self._clock()
        self.refused.run_again(now)
        records = self.queue.take(now, self._is_wanted)
        if records:
            self._producer.produce(records)

    def take_answers(self, answers: Sequence[RecordAnswer]) -> None:
        """The broker's answers for records that were sent."""
        now = self._clock()
        for outgoing, code, said in answers:
            if code is None:
                self.queue.acknowledged(outgoing)  # type: ignore[arg-type]  # a queue of letters that takes records
                owner = outgoing.owner
                owner.left -= 1
                if not owner.left and self._unwritten.pop(owner.item, None) is owner:
                    self._forget(owner)
                    self._manager.outbox.written(owner.item)
            else:
                is_wanted = self._is_wanted(outgoing.item)
                self.queue.failed(outgoing, code, said, now, is_wanted=is_wanted)
        refused, self.queue.refused = self.queue.refused, []
        for outgoing, code, said in refused:
            self._refuse(outgoing, code, said, now)
        for notice in self.queue.take_notices():
            _tell(notice)

    def coming(self, which: Callable[[WorkItem], bool]) -> int:
        """How many of these messages have records that will probably be acknowledged soon."""
        if self.queue.is_failing:
            return 0
        return sum(1 for item in self._unwritten if which(item))

    def items(self) -> list[WorkItem]:
        """The messages whose records are not acknowledged."""
        return list(self._unwritten)

    def forget_ended(self) -> None:
        """Assignments have ended: the next owner will make their unwritten records again."""
        is_current = self._manager.is_current
        for item in [item for item in self._unwritten if not is_current(item)]:
            self._forget(self._unwritten.pop(item))
        self.refused.forget_ended()
        self.queue.drop_ended(is_current)

    # Inside

    def _send(self, unwritten: Unwritten) -> None:
        self._unwritten[unwritten.item] = unwritten
        self._records += len(unwritten.records)
        self._bytes += unwritten.size_bytes
        add = self.queue.add
        for record in unwritten.records:
            self._sequence += 1
            add(Outgoing(unwritten, record, self._sequence))  # type: ignore[arg-type]  # see above

    def _forget(self, unwritten: Unwritten) -> None:
        self._records -= len(unwritten.records)
        self._bytes -= unwritten.size_bytes

    def _is_wanted(self, item: WorkItem) -> bool:
        """Whether to send the records: not if the message has failed meanwhile, nor if its assignment has ended."""
        return item in self._unwritten and self._manager.is_current(item)

    def _refuse(self, outgoing: Outgoing, code: str, said: str, now: float) -> None:
        owner = outgoing.owner
        if self._unwritten.pop(owner.item, None) is owner:  # Else another record of its message was refused before.
            self._forget(owner)
            self.refused.take(owner, outgoing.topic, code, said, now)


def _tell(notice: LetterNotice) -> None:
    extra = {"topic": notice.topic, "code": notice.code}
    if notice.kind is NoticeKind.RECOVERED:
        logger.info("records go to %s again; %d wait", notice.topic, notice.waiting, extra=extra)
    elif notice.kind is NoticeKind.FAILS:
        more = f", {notice.more} more times since this was last told" if notice.more else ""
        logger.error(_FAILS, notice.topic, notice.said, notice.code, more, notice.waiting, extra=extra)
