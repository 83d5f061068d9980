"""A member whose workers take batches: the real book of batches between its work manager and its workers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pyrallel_consumer.control_plane.policies import BatchPolicy, RetryPolicy
from pyrallel_consumer.dto import TopicPartition, WorkItem
from pyrallel_consumer.execution_plane.batches.batch import Batch
from pyrallel_consumer.execution_plane.batches.book import BatchBook
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from pyrallel_consumer.record import BatchRecords, Records
from tests.simulation.exactly_once.member import RECORDS, Member
from tests.simulation.oracles.verdict import RuleBroken

SLOTS = 60
MOST_CALLS = 4
WHOLE_FAILURES = 0.2
"""How often a call fails as a whole: nobody knows which message is at fault, and all of them are tried again."""


class BatchMember(Member):
    """``running`` are calls: batches, which end with records, failures by name, or as a whole."""

    running: list[WorkItem]

    def __init__(self, *args: Any) -> None:
        self._channel = CompletionChannel(lambda: None)
        super().__init__(*args)
        retry = RetryPolicy(max_attempts=1, backoff_ms=10, jitter_ms=0)
        size = self._random.choice((2, 5, 20))
        self._book = BatchBook(BatchPolicy(size, linger_seconds=0.02), retry, SLOTS, lambda: 0.0, self._channel)
        self._size = size

    def _returned_records(self) -> dict[WorkItem, tuple[int, Records]]:
        return self._channel.returned

    def start(self, most: int) -> None:
        self._exhausted.pump()
        self.output.pump()
        self.manager.allow_runs(self._size, are_whole=True)
        items = self.manager.take(min(most, self._book.capacity))
        self._exhausted.take_condemned()
        self._book.submit_all(items, self._now())
        self._book.wake(self._now())
        while len(self.running) < MOST_CALLS and (batch := self._book.take_call(self._now(), is_enough=True)):
            self.running.append(batch)
        self._take_reports()

    def finish(self, item: WorkItem) -> None:
        """As with single messages: one record, or none, or a failure; now and then the whole call fails."""
        assert isinstance(item, Batch)
        self.running.remove(item)
        bad = [place for place, root in enumerate(item.roots) if root.offset % 5 == 4]
        if (bad or len(item) > 1) and self._random.random() < WHOLE_FAILURES:
            self._book.failed(item, ValueError("one of them is not valid"), self._now())
        else:
            records = {place: RECORDS for place, root in enumerate(item.roots) if root.offset % 5 not in (3, 4)}
            named = NamedFailures({place: ValueError("invalid data") for place in bad}) if bad else None
            self._book.returned(item, BatchRecords(records, named), self._now())
        self._take_reports()

    def _end_work(self, tp: TopicPartition, *, has_time: bool) -> None:
        ends_here: Callable[[WorkItem], bool] = lambda root: root.tp == tp  # noqa: E731 -- a predicate
        calls = [each for each in self.running if isinstance(each, Batch) and any(map(ends_here, each.roots))]
        if has_time:
            for batch in calls:
                self.finish(batch)
        self._book.withdraw(ends_here, self._now())
        if not has_time:
            for batch in calls:
                self.running.remove(batch)
                self._book.given_back(batch, self._now())
        self._take_reports()

    def _take_reports(self) -> None:
        self._book.charged.clear()
        self._book.searched.clear()
        finished = self._channel.drain(sys.maxsize)
        self.output.succeed(finished.successes)
        if self._channel.returned:
            raise RuleBroken("batches", f"records are kept of {list(self._channel.returned)}, which are not done")
        for failed in finished.failures:
            self._exhausted.take(failed)
        for cancelled in finished.cancellations:
            self.manager.cancel(cancelled.item)
