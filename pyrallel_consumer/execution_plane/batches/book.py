"""The book of an engine of batches: which messages make the next call, and what becomes of each when it ends. Pure.

No clock and no randomness: ``now`` (seconds, never going back) and ``jitter`` are passed in. Items are known by their
*roots*, the very objects that were submitted. A message goes

    collected -> in a call -> done, given up, given back, or waiting for another attempt -> in a call ...

Messages of an ordered origin wait while messages of the same origin are in a batch: see ``busy_origins``. While one of
these waits for another attempt of its own, the messages behind it are given back. Invariant: all messages here that do
not wait for another attempt fit the slots.
"""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.batches.assembler import Assembler, with_followers
from pyrallel_consumer.execution_plane.batches.batch import Batch
from pyrallel_consumer.execution_plane.batches.busy_origins import BusyOrigins, ordered_origin, ordered_origins
from pyrallel_consumer.execution_plane.batches.next_attempts import NextAttempts
from pyrallel_consumer.execution_plane.batches.search import Search
from pyrallel_consumer.execution_plane.batches.sizes import BatchSizes
from pyrallel_consumer.execution_plane.batches.sleepers import Sleepers
from pyrallel_consumer.execution_plane.retry import MOST_UNCHARGED, asked_for, backoff_ms, is_of_its_own, next_wait
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyrallel_consumer.control_plane.policies import BatchPolicy, RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.engine import CompletionChannel
    from pyrallel_consumer.record import BatchRecords, Records

    Found: TypeAlias = "list[tuple[WorkItem, BaseException]]"
    """Messages that a search has found to fail alone, each with its error."""


class BatchBook:
    """``slots`` limits the messages here that do not wait for another attempt. Reports go to ``channel``."""

    def __init__(
        self,
        policy: BatchPolicy,
        retry: RetryPolicy,
        slots: int,
        jitter: Callable[[], float],
        channel: CompletionChannel,
    ) -> None:
        self.channel = channel
        self.retries_total = 0
        self.sizes = BatchSizes(policy.size)
        self.running: dict[Batch, None] = {}
        """Calls that were given out and have not ended, oldest first. Only to be read."""
        self.sleepers = Sleepers(slots)
        self.charged: list[tuple[WorkItem, RetryAt]] = []
        """For the log: messages that are tried again. The reader clears it, and ``searched`` too."""
        self.searched: list[tuple[Batch, BaseException]] = []
        """For the log: batches that failed as a whole, and are searched for the message at fault."""
        self._retry = retry
        self._jitter = jitter
        self._assembler = Assembler(policy)
        self._ready: deque[Batch] = deque()
        self._inside = 0
        self._again = NextAttempts()
        self._origins = BusyOrigins()

    @property
    def capacity(self) -> int:
        """How many more messages may be submitted."""
        return self.sleepers.capacity(self._inside)

    @property
    def is_empty(self) -> bool:
        """Whether no message is here, and nothing is remembered of earlier ones."""
        return not (self._inside or self._again or self._origins)

    # In

    def submit_all(self, items: Sequence[WorkItem], now: float) -> None:
        """Collect ``items`` for batches, in this order."""
        self._inside += len(items)
        self._collect(items, now)

    def _collect(self, items: Sequence[WorkItem], now: float) -> None:
        at = 0
        while at < len(items):
            if self._origins.any_busy:
                items, refused = self._origins.put_behind(items[at:] if at else items)
                at = 0
                for item in refused:
                    self._report_back(item)
            if items:
                at = self._assembler.add(items, at, now)
                self._complete_full(now)

    def _complete_full(self, now: float) -> None:
        for full in self._assembler.take_full():
            self._complete(full.items, now - full.opened_at)

    def _complete(self, roots: Sequence[WorkItem], waited_seconds: float) -> None:
        """Make a batch of these: no more messages are added."""
        ordered = ordered_origins(roots)
        self._origins.begin(ordered)
        self.sizes.note(len(roots), waited_seconds)
        self._ready.append(self._batch(roots, ordered))

    def _batch(
        self,
        roots: Sequence[WorkItem],
        ordered: Sequence[Any] = (),
        search: Search[WorkItem] | None = None,
        postponed: int = 0,
    ) -> Batch:
        return Batch(roots, self._again.items(roots), ordered, search, postponed)

    # Out

    def take_call(self, now: float, *, is_enough: bool = False) -> Batch | None:
        """The next call to make now. With ``is_enough`` no more messages can come, so no message waits for others."""
        if not self._ready:
            collected = self._assembler.take_due(now, is_enough=is_enough)
            if collected is None:
                return None
            self._complete(collected.items, now - collected.opened_at)
        batch = self._ready.popleft()
        self.running[batch] = None
        return batch

    def next_call_at(self) -> float | None:
        """When ``wake`` and ``take_call`` are needed, maybe in the past. None: not until something changes."""
        if self._ready:
            return float("-inf")
        moments = (self._assembler.next_due_at(), self.sleepers.next_due_at(self._inside))
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, now: float) -> None:
        """Try due messages again, as far as slots allow."""
        sleepers = self.sleepers
        while sleepers and (sleeper := sleepers.wake(now, self._inside)) is not None:
            self.retries_total += len(sleeper.roots)
            if sleeper.may_join:
                while self._assembler.add(sleeper.roots, 0, now) == 0:
                    self._complete_full(now)  # There was no room left for it.
                self._complete_full(now)
            elif sleeper.search is not None:
                self._ready.append(self._batch(sleeper.search.part, (), sleeper.search, sleeper.postponed))
            else:
                self._ready.append(self._batch(sleeper.roots, ordered_origins(sleeper.roots), None, sleeper.postponed))

    # How calls end

    def succeeded(self, batch: Batch, now: float) -> None:
        """The worker returned: all of ``batch`` is done."""
        del self.running[batch]
        roots = batch.roots
        self.channel.successes += roots
        if batch.search is not None:
            for root in roots:
                self._leave(root, now)
            self._go_on(batch.search, batch.search.passed(), now)
            return
        self._inside -= len(roots)
        self._again.forget(roots)
        self.sleepers.awake.difference_update(roots)
        for behind in self._origins.succeeded(batch.ordered):
            self._collect(behind, now)

    def returned(self, batch: Batch, told: BatchRecords, now: float) -> None:
        """The worker returned records: a message's records go to the channel before its success."""
        if told.failures is None:
            for place, records in told.by_place.items():
                self.channel.returned[batch.roots[place]] = batch.items[place].attempt, records
            self.succeeded(batch, now)
        else:
            self.failed(batch, told.failures, now, told.by_place)

    def failed(
        self, batch: Batch, error: BaseException, now: float, records: Mapping[int, Records] = MappingProxyType({})
    ) -> None:
        """The call raised ``error``, timed out, or its process died.

        ``error`` may name the failed messages. ``records`` belong to the other ones, which are done, by their places.
        """
        del self.running[batch]
        search, roots = batch.search, batch.roots
        if search is None:
            self._origins.count(roots)
        found: Found = []
        if type(error) is NamedFailures:
            found += search.passed() if search else []
            self._take_named(batch, error.errors, records, found, now)
        elif len(roots) == 1 and (search is None or is_of_its_own(error)):
            found += search.passed() if search else []
            self._charge(roots[0], error, search, found, now)
        elif len(roots) > 1 and self._is_put_off(batch, error, now):
            return
        elif search is None:
            self._begin_search(batch, error, now)
        else:
            found += search.failed(error)
            self._drop(search, with_followers(search.items, batch.leaving.__contains__), found, now)
        if search is not None:
            self._go_on(search, found, now)

    def given_back(self, batch: Batch, now: float) -> None:
        """The call did not begin, or was cancelled: give back *leaving* messages, or all if none is leaving."""
        del self.running[batch]
        self._withdraw_call(batch, batch.leaving.__contains__ if batch.leaving else lambda _: True, now)

    def _take_named(
        self,
        batch: Batch,
        errors: dict[int, BaseException],
        records: Mapping[int, Records],
        found: Found,
        now: float,
    ) -> None:
        """Named messages failed, messages behind them are given back, and the others are done."""
        stopped: set[Any] = set()
        for place, root in enumerate(batch.roots):
            origin = root._origin
            if origin in stopped:
                self._give_back(root, now)
            elif place in errors:
                if origin.is_ordered:
                    stopped.add(origin)
                self._charge(root, errors[place], batch.search, found, now, may_join=True)
            else:
                if place in records:
                    self.channel.returned[root] = batch.items[place].attempt, records[place]
                self.channel.successes.append(root)
                self._leave(root, now)

    def _is_put_off(self, batch: Batch, error: BaseException, now: float) -> bool:
        """Whether ``RetryLater`` was raised for several messages: then all of them wait, and no attempt counts."""
        asked = asked_for(error)
        if asked is None or batch.postponed >= MOST_UNCHARGED or batch.leaving:
            return False
        roots = batch.search.items if batch.search else list(batch.roots)
        self._sleep(roots, now + asked.milliseconds / 1000, batch.search, batch.postponed + 1)
        return True

    def _sleep(
        self, roots: list[WorkItem], due_at: float, search: Search[WorkItem] | None = None, postponed: int = 0
    ) -> None:
        """These messages wait together; messages behind them are given back."""
        for origin in ordered_origins(roots):
            self._origins.break_off(origin)
            self._give_back_behind(origin)
        self.sleepers.add(roots, due_at, search=search, postponed=postponed)

    def _charge(
        self,
        root: WorkItem,
        error: BaseException,
        search: Search[WorkItem] | None,
        found: Found,
        now: float,
        *,
        may_join: bool = False,
    ) -> None:
        """``root`` failed alone or by name: count an attempt and give back the messages behind it.

        ``found`` gets the messages that a search then knows to fail alone.
        """
        item, put_off = self._again.of(root)
        origin = root._origin
        if origin.is_ordered and search is not None:
            self._drop(search, [each for each in search.items if each._origin is origin], found, now)
        self._give_back_behind(origin)
        wait = next_wait(self._retry, item.attempt, error, self._jitter(), put_off)
        if wait is None:
            self.channel.failed(root, error, item.attempt)
            self._leave(root, now)
            return
        if origin.is_ordered:
            self._origins.break_off(origin)
        self._again.note(root, is_charged=wait.is_charged)
        due_at = now + wait.milliseconds / 1000
        self.sleepers.add([root], due_at, may_join=may_join)
        self.charged.append((root, RetryAt(due_at, error, item.attempt, wait.is_charged)))

    # The search

    def _begin_search(self, batch: Batch, error: BaseException, now: float) -> None:
        """It is not known which message is at fault, so no attempt counts."""
        roots = self._without(batch.roots, batch.leaving.__contains__, now)
        if len(roots) > 1:
            self.searched.append((batch, error))
            self.sizes.searches += 1
            self._go_on(Search(roots, ordered_origin, self._retry.max_attempts), [], now)
        elif roots:
            self._ready.appendleft(self._batch(roots, ordered_origins(roots)))

    def _go_on(self, search: Search[WorkItem], found: Found, now: float) -> None:
        """Count attempts for messages found to fail alone, and try the next part, at once or after the backoff."""
        while found:
            root, error = found.pop(0)
            self._charge(root, error, search, found, now)
        if not search.part:
            return
        if search.is_waiting:
            search.is_waiting = False
            self._sleep(search.items, now + backoff_ms(self._retry, search.rounds, self._jitter()) / 1000, search)
        else:
            self.sizes.search_calls += 1
            self._ready.appendleft(self._batch(search.part, (), search))

    def _drop(self, search: Search[WorkItem], gone: Sequence[WorkItem], found: Found, now: float) -> None:
        """Give ``gone`` back; ``found`` gets the messages that the search finds by that."""
        if gone:
            found += search.drop(set(gone))
            for root in gone:
                self._give_back(root, now)

    # Giving back

    def withdraw(self, which: Callable[[WorkItem], bool], now: float) -> None:
        """Give back matching messages and those behind them; in a running call they are *leaving* instead."""
        for root in self._assembler.take_out(which):
            self._give_back(root, now)
        for item in self._origins.take_matching(which):
            self._report_back(item)
        for batch in list(self._ready):
            if any(map(which, batch.search.items if batch.search else batch.roots)):
                self._ready.remove(batch)
                self._withdraw_call(batch, which, now)
        self._withdraw_sleeping(which, now)
        for batch in self.running:
            batch.leaving.update(filter(which, batch.roots))
            if batch.search:
                tried = set(batch.roots)
                idle = [root for root in batch.search.items if root not in tried]
                self._drop(batch.search, with_followers(idle, which), [], now)

    def _withdraw_call(self, batch: Batch, which: Callable[[WorkItem], bool], now: float) -> None:
        """Give back the matching messages of a call that does not run, and make the call without them."""
        search = batch.search
        if search is not None:
            found: Found = []
            self._drop(search, with_followers(search.items, which), found, now)
            self._go_on(search, found, now)
            return
        self._origins.count(batch.roots)
        roots = self._without(batch.roots, which, now)
        if roots:
            self._ready.appendleft(self._batch(roots, ordered_origins(roots), None, batch.postponed))

    def _withdraw_sleeping(self, which: Callable[[WorkItem], bool], now: float) -> None:
        for sleeper in self.sleepers.all():
            search = sleeper.search
            if not any(map(which, sleeper.roots)):
                continue
            if search is None:
                sleeper.roots = self._without(sleeper.roots, which, now)
                continue
            found: Found = []
            self._drop(search, with_followers(search.items, which), found, now)
            while found:
                root, error = found.pop(0)
                self._charge(root, error, search, found, now)
            sleeper.roots = search.items
        self.sleepers.drop_empty()

    def _without(self, roots: Sequence[WorkItem], which: Callable[[WorkItem], bool], now: float) -> list[WorkItem]:
        """Give back matching messages and those behind them; returns the others."""
        gone = set(with_followers(roots, which))
        for root in roots:
            if root in gone:
                self._give_back(root, now)
        return [root for root in roots if root not in gone]

    def _give_back(self, root: WorkItem, now: float) -> None:
        """Give back ``root`` and the messages behind it; none of their attempts counts."""
        self._give_back_behind(root._origin)
        self.channel.cancelled(root, self._again.of(root)[0].attempt)
        self._leave(root, now)

    def _give_back_behind(self, origin: Any) -> None:
        for root in self._origins.take_behind(origin):
            self._report_back(root)

    def _report_back(self, root: WorkItem) -> None:
        """Give back a message that waited behind others, or was submitted too late to do so."""
        self._inside -= 1
        self.channel.cancelled(root, root.attempt)

    # Leaving

    def _leave(self, root: WorkItem, now: float) -> None:
        """``root`` was reported. After the last one of its origin, the messages behind may be collected."""
        self._inside -= 1
        self._again.forget((root,))
        self.sleepers.awake.discard(root)
        self._collect(self._origins.leave(root._origin), now)
