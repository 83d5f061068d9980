"""The contract between the control loop and an engine, which runs the user's worker. You may write your own engine.

An engine knows items, attempts and slots, and nothing about offsets and commits. Finished work travels back through one
``CompletionChannel``. Every engine keeps these laws, and ``testing.engine_contract`` checks them:

- Every submitted item yields exactly one final completion: succeeded, failed (out of attempts), or cancelled.
- An attempt ends when its task, call or process ended, not when its timeout fired; until then it occupies its slot.
- A waiting retry occupies no slot; due retries go before new work, and some slots are always left for new work.
- A call that returned is done: it succeeded, even after its timeout or a cancel that did not reach it.
- Any exception of a worker, including ``BaseException``, is a failed attempt and is reported to the channel only. The
  exception is KeyboardInterrupt, which is Ctrl-C: the item is given back as cancelled, and the channel ``interrupted``.
- No attempt begins after ``channel.starts_until``, not even a retry: the engine holds it until that time has moved on.

Items that must be kept in order share an ``item.origin`` whose ``is_ordered`` is True. By default an engine
gets these items one after another. An engine with ``is_keeping_order`` is sent several ahead, as many as its
``run_length`` allows, and keeps these laws too:

- Items of one origin begin in the order of their submission, each only after its predecessor has succeeded.
- When an attempt ends in any other way, all items behind it are given back as cancelled and unbegun, and their attempts
  do not count. The same holds for items that are submitted behind it before all of these items, and the item of the
  attempt itself, have had their final completion.
- An end without success is reported on the loop's thread: nothing is submitted before the loop has handled all reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.dto import BatchFigures, WorkItem
    from pyrallel_consumer.record import Records

_T = TypeVar("_T")


@dataclass(slots=True)
class Failed:
    """``item`` is out of attempts: ``error`` ended the last one, number ``attempt``."""

    item: WorkItem
    error: BaseException
    attempt: int


@dataclass(slots=True)
class Cancelled:
    """``item`` was given back unfinished: ``attempt`` is the number of the attempt, which does not count."""

    item: WorkItem
    attempt: int


@dataclass(slots=True)
class Finished:
    """The completions that one drain took out of the channel; each list in the order of reporting."""

    successes: list[WorkItem]
    failures: list[Failed]
    cancellations: list[Cancelled]


@dataclass(frozen=True, slots=True)
class StuckAttempt:
    """An attempt that timed out or was cancelled at ``marked_at`` (loop time, seconds) and has not ended since."""

    item: WorkItem
    attempt: int
    started_at: float
    marked_at: float
    is_timed_out: bool


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """Attempt number ``attempt`` of ``item``, running since ``started_at`` (loop time, seconds; None: unknown)."""

    item: WorkItem
    attempt: int
    started_at: float | None


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """``waiting_retries`` counts the messages that wait for another attempt; ``due`` of them hold a slot already.

    ``batches`` is None where messages run one by one.
    """

    running: int
    waiting_retries: int
    due: int
    retries_total: int
    timeouts_total: int
    batches: BatchFigures | None = None


class CompletionChannel:
    """Finished work on its way to the loop; reporters may be on any thread, ``drain`` is the loop's.

    Reporters append before they test ``is_notified``, and ``drain`` clears it before it pops. So no report stays
    unnoticed, without a lock. ``wake`` is called once until the next drain, on the reporter's thread. Every
    report names the object that was given to ``submit``, whichever attempt ended.
    """

    __slots__ = (
        "_cancellations",
        "_crash",
        "_failures",
        "_wake",
        "is_interrupted",
        "is_notified",
        "returned",
        "starts_until",
        "starts_until_boot",
        "successes",
    )

    def __init__(self, wake: Callable[[], None]) -> None:
        self.successes: list[WorkItem] = []
        """Engines may append here themselves, and must then call ``notify`` unless ``is_notified`` is set."""
        self.is_notified = False
        self.is_interrupted = False
        """Whether Ctrl-C interrupted a worker; the loop resets it."""
        self.starts_until = inf
        """Seconds of the engine's ``now``. The loop moves it on while it turns, and sets it to ``-inf`` while the group
        may have given our partitions to others. Engines only read it, on any thread."""
        self.starts_until_boot = inf
        """The same in ``boot_seconds``, which count suspended time and are the same in all processes."""
        self.returned: dict[WorkItem, tuple[int, Records]] = {}
        """Of successes whose worker returned records: the number of the attempt, and the records. An engine puts them
        here before it reports the success."""
        self._failures: list[Failed] = []
        self._cancellations: list[Cancelled] = []
        self._crash: BaseException | None = None
        self._wake = wake

    def succeeded(self, item: WorkItem) -> None:
        self.successes.append(item)
        self.notify()

    def failed(self, item: WorkItem, error: BaseException, attempt: int) -> None:
        self._failures.append(Failed(item, error, attempt))
        self.notify()

    def cancelled(self, item: WorkItem, attempt: int) -> None:
        self._cancellations.append(Cancelled(item, attempt))
        self.notify()

    def interrupted(self) -> None:
        """KeyboardInterrupt came out of a worker, whose item is given back: the consumer must stop."""
        self.is_interrupted = True
        self.notify()

    def crashed(self, error: BaseException) -> None:
        """The engine itself is broken (not for a worker's exception); the next ``drain`` raises ``error``."""
        self._crash = error
        self.notify()

    def notify(self) -> None:
        """Make the loop look at channel and engine: there is a report, a free slot, or a new retry time."""
        if not self.is_notified:
            self.is_notified = True
            self._wake()

    @property
    def has_setbacks(self) -> bool:
        """Whether failures or cancellations are left."""
        return bool(self._failures or self._cancellations)

    @property
    def has_items(self) -> bool:
        return bool(
            self.successes or self._failures or self._cancellations or self._crash is not None or self.is_interrupted
        )

    def drain(self, limit: int) -> Finished:
        """Take out at most ``limit`` completions, failures and cancellations first, because successes never end.

        A caller that leaves items behind (``has_items``) must call again by itself: only later reports wake.
        """
        self.is_notified = False
        if self._crash is not None:
            raise self._crash
        failures = _take(self._failures, limit)
        cancellations = _take(self._cancellations, limit - len(failures))
        return Finished(_take(self.successes, limit - len(failures) - len(cancellations)), failures, cancellations)


def _take(items: list[_T], limit: int) -> list[_T]:
    taken = items[:limit]
    del items[: len(taken)]
    return taken


class ExecutionEngine(ABC):
    """Runs attempts of the worker, several at once. Every method is called on the event loop's thread.

    The loop asks ``capacity`` before it submits, calls ``sweep`` when ``next_sweep_at`` has come, and looks again at
    both after each wake of the channel: an engine notifies whenever a completion, a free slot or a retry time is new.
    All times are seconds of the ``now`` given to ``start``. ``which`` predicates are asked with submitted items.
    """

    is_keeping_order: ClassVar[bool] = False
    """Whether it may be sent items of one ordered origin before their predecessors have ended; see the laws above."""

    is_joining: ClassVar[bool] = False
    """Whether it holds items back so that others join them; ``nothing_follows`` says that no others can come."""

    def nothing_follows(self) -> None:  # noqa: B027 -- most engines hold nothing back
        """No more items come before a submitted one ends: if nothing runs, begin items that wait for others."""

    def run_length(self) -> int:
        """How many items of one ordered origin may be in flight, at least 1; only used with ``is_keeping_order``."""
        return 1

    @abstractmethod
    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        """Get ready to take work. Raises a ``PyrallelConsumerError`` if the worker cannot be run."""

    @abstractmethod
    def capacity(self) -> int:
        """How many items may be submitted now, in all: slots minus running minus due, at least 0."""

    @abstractmethod
    def submit(self, item: WorkItem) -> None:
        """Start the first attempt of ``item``, numbered ``item.attempt``. Requires capacity.

        Never blocks, and never raises a worker's error. The worker may have run to its end on return.
        """

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        """``submit`` each of ``items``, in this order; there is capacity for all of them."""
        for item in items:
            self.submit(item)

    @abstractmethod
    def sweep(self, now: float) -> None:
        """Start due retries and cancel, once, the attempts whose timeout has passed."""

    @abstractmethod
    def next_sweep_at(self) -> float | None:
        """When ``sweep`` must be called at the latest (at once if in the past); None = not until something changes."""

    def heed_lease(self) -> None:  # noqa: B027 -- most engines of third parties hold nothing back
        """``channel.starts_until`` has moved: begin attempts that were held back, if they may begin now.

        Called several times a second. An engine that begins nothing outside of ``submit`` and ``sweep``, and no retry
        in ``sweep`` after ``starts_until``, need not override it.
        """

    @abstractmethod
    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        """How many attempts are started and not ended, of all items or of ``which``; waiting retries do not count."""

    @abstractmethod
    def waiting(self) -> Sequence[WorkItem]:
        """Items that wait for another attempt, including due ones; in no order."""

    @abstractmethod
    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        """End waiting and due retries of ``which`` as cancelled, at once, and attempts that surely have not begun."""

    @abstractmethod
    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        """Cancel running attempts of ``which``, once each. Each reports its end: cancelled, unless it returned."""

    @abstractmethod
    def stuck(self, now: float) -> Sequence[StuckAttempt]:
        """Attempts that timed out or were cancelled before ``now`` and still run, oldest start first."""

    def longest_running(self, most: int) -> Sequence[RunningAttempt]:
        """Up to ``most`` running attempts, the longest first as far as the engine knows; for operators.

        An engine that keeps no times need not override it: ``running`` is used then.
        """
        found: list[WorkItem] = []

        def note(item: WorkItem) -> bool:
            found.append(item)
            return True

        self.running(note)
        return [RunningAttempt(item, item.attempt, None) for item in found[:most]]

    @abstractmethod
    def status(self) -> EngineStatus: ...

    @abstractmethod
    async def stop(self, timeout_seconds: float) -> None:
        """Withdraw and cancel everything, wait for its end, and abandon attempts that have not ended at the deadline.

        Abandoned attempts are reported as cancelled; their later end is ignored. No task, thread or process is
        left, except attempts that cannot be ended. Afterwards ``capacity()`` is 0. A second call does nothing.
        """
