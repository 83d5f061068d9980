"""The demo's record: which worker handled which order when, and which guarantees were broken.

It hears only from the workers of all consumers, so it depends on no offset and on no other part. A key's orders are in
order when each starts after the previous order has ended. What ended without a result (cancelled, because its partition
went to another consumer) must run again, and that is a message run twice. Pure: no clock, no I/O.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType


@dataclass(slots=True)
class _Customer:
    """The state of one key. Orders up to ``through`` are done, and so are the ones in ``beyond``."""

    through: int = 0
    beyond: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    broken_off: set[int] = field(default_factory=set)
    retried: set[int] = field(default_factory=set)
    highest_started: int = 0

    def is_done(self, nth: int) -> bool:
        return nth <= self.through or nth in self.beyond

    def is_settled_before(self, nth: int) -> bool:
        """Whether every order before ``nth`` has ended: done, or permanently failed."""
        return all(self.is_done(earlier) or earlier in self.failed for earlier in range(self.through + 1, nth))

    def finish(self, nth: int) -> None:
        self.beyond.add(nth)
        while self.through + 1 in self.beyond:
            self.through += 1
            self.beyond.remove(self.through)


class Ledger:
    """Counts the events of ``expected`` orders; ``clock`` returns seconds.

    ``processed`` counts orders that ended well, each once, and ``retried`` counts how many of them had failed before.
    ``failed`` counts orders whose last run failed, and ``runs`` every run. ``running`` orders are being worked on, of
    all consumers together, and never more than ``most_running`` were.
    """

    def __init__(self, expected: int, clock: Callable[[], float]) -> None:
        self.expected = expected
        self.processed = 0
        self.retried = 0
        self.failed = 0
        self.runs = 0
        self.running = 0
        self.most_running = 0
        self.duplicates = 0
        self.order_violations = 0
        self.processed_by: Counter[str] = Counter()
        self.first_started_at: float | None = None
        self.last_ended_at: float | None = None
        self._clock = clock
        self._customers: dict[str, _Customer] = {}

    @property
    def ended(self) -> int:
        """Orders whose last run is over; one that failed may be tried again."""
        return self.processed + self.failed

    @property
    def is_complete(self) -> bool:
        """Whether every order has ended, and no worker runs any more."""
        return self.ended >= self.expected and self.running == 0

    @property
    def seconds(self) -> float:
        """From the first start to the latest end."""
        if self.first_started_at is None or self.last_ended_at is None:
            return 0.0
        return self.last_ended_at - self.first_started_at

    def run(self, consumer: str, customer: str, nth: int) -> Run:
        """A ``with`` block around one run of a worker; how the block ends is how the run ended."""
        return Run(self, consumer, customer, nth)

    def started(self, customer: str, nth: int) -> None:
        if self.first_started_at is None:
            self.first_started_at = self._clock()
        self.runs += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        known = self._customers.setdefault(customer, _Customer())
        is_retry = nth in known.failed and nth not in known.running
        if is_retry:
            known.failed.remove(nth)
            known.retried.add(nth)
            self.failed -= 1
        is_again = known.is_done(nth) or nth in known.running or nth in known.broken_off
        if is_again:
            self.duplicates += 1
        is_late = nth < known.highest_started and not is_again
        if known.running or is_late or not known.is_settled_before(nth):
            self.order_violations += 1
        known.running.add(nth)
        known.broken_off.discard(nth)
        known.highest_started = max(known.highest_started, nth)

    def succeeded(self, consumer: str, customer: str, nth: int) -> None:
        known = self._end(customer, nth)
        if not known.is_done(nth):
            known.finish(nth)
            self.processed += 1
            self.retried += nth in known.retried
            known.retried.discard(nth)
            self.processed_by[consumer] += 1

    def went_wrong(self, customer: str, nth: int) -> None:
        """The run failed; the same order may run again, as a further attempt."""
        known = self._end(customer, nth)
        if not known.is_done(nth) and nth not in known.failed:
            known.failed.add(nth)
            self.failed += 1

    def was_broken_off(self, customer: str, nth: int) -> None:
        """The run was cancelled and has no result."""
        known = self._end(customer, nth)
        if not known.is_done(nth):
            known.broken_off.add(nth)

    def _end(self, customer: str, nth: int) -> _Customer:
        self.running -= 1
        self.last_ended_at = self._clock()
        known = self._customers[customer]
        known.running.discard(nth)
        return known


class Run:
    """One run of a worker on one order, recorded in the ledger."""

    __slots__ = ("_consumer", "_customer", "_ledger", "_nth")

    def __init__(self, ledger: Ledger, consumer: str, customer: str, nth: int) -> None:
        self._ledger = ledger
        self._consumer = consumer
        self._customer = customer
        self._nth = nth

    def __enter__(self) -> None:
        self._ledger.started(self._customer, self._nth)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._ledger.succeeded(self._consumer, self._customer, self._nth)
        elif isinstance(error, asyncio.CancelledError):
            self._ledger.was_broken_off(self._customer, self._nth)
        else:
            self._ledger.went_wrong(self._customer, self._nth)
