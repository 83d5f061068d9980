"""Attempts that wait in the process engine to be sent, in order, and the process to which each is bound. Pure.

While a process has a part of a run, the rest of the run is *bound* to that process: it works in order, and no other
process may begin the rest. Bound attempts are earlier in their runs than those in the queue, and later than sent ones.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.processes.parent.key_order import KeyOrder, Run


class Taker(Protocol):
    """The backlog's view of a process; ``bound`` belongs to the backlog."""

    bound: deque[Attempt]


class Backlog:
    """One queue for all processes, and the attempts bound to one of them. ``takers`` are the living processes.

    Callers append new attempts to ``queue``.
    """

    def __init__(self, runs: KeyOrder) -> None:
        self.queue: deque[Attempt] = deque()
        self.takers: Sequence[Taker] = ()
        self._runs = runs

    def __bool__(self) -> bool:
        return bool(self.queue) or any(taker.bound for taker in self.takers)

    def add_retries(self, attempts: Iterable[Attempt]) -> None:
        """Put retries before all others: they are the first of their runs."""
        self.queue.extendleft(reversed(list(attempts)))

    def take_for(self, taker: Taker, most: int, most_bytes: int) -> tuple[list[Attempt], list[int], list[int]]:
        """The next attempts that ``taker`` may be sent, the number of each one's run, 0 for none, and its bytes.

        At most ``most`` items; the last one may bring their bytes above ``most_bytes``. If the next attempt is bound to
        another process, it goes to that process's bound attempts.
        """
        queue, bound, by_origin = self.queue, taker.bound, self._runs.by_origin
        taken: list[Attempt] = []
        runs: list[int] = []
        sizes: list[int] = []
        size_bytes = 0
        while len(taken) < most and size_bytes < most_bytes:
            if bound:
                attempt = bound.popleft()
                run = by_origin.get(attempt.root.origin)
            elif queue:
                attempt = queue.popleft()
                run = by_origin.get(attempt.root.origin)
                if run is not None:
                    if run.place is None:
                        run.place = taker
                    run.placed.add(attempt.root)
                    if run.place is not taker:
                        run.place.bound.append(attempt)  # type: ignore[attr-defined]  # all places are takers
                        continue
            else:
                break
            taken.append(attempt)
            runs.append(0 if run is None else run.number)
            size = attempt.item.size_bytes
            sizes.append(size)
            size_bytes += size
        return taken, runs, sizes

    def put_back(self, taker: Taker, attempts: Iterable[Attempt]) -> None:
        """These attempts never began: put them first, in their order, and behind them those bound to ``taker``.

        A process gives back frame by frame, so earlier attempts of their runs may be back already: then the later
        attempts go behind them.
        """
        back = [*attempts, *taker.bound]
        taker.bound.clear()
        for attempt in back:
            attempt.handle = None
            self._runs.unplaced(attempt.root)
        self.queue.extendleft(reversed(back))
        self._restore_order({id(run): run for attempt in back if (run := self._runs.of(attempt.root)) is not None})

    def _restore_order(self, runs: dict[int, Run]) -> None:
        """Sort the queued attempts of each of ``runs`` by submission, within the places that they have."""
        queue, of = self.queue, self._runs.of
        places: dict[int, list[int]] = {}
        for place, attempt in enumerate(queue):
            key = id(of(attempt.root))
            if key in runs:
                places.setdefault(key, []).append(place)
        for key, taken in places.items():
            nth = {root: number for number, root in enumerate(runs[key].items)}
            in_order = sorted((queue[place] for place in taken), key=lambda attempt: nth[attempt.root])
            for place, attempt in zip(taken, in_order, strict=True):
                queue[place] = attempt

    def take_out(self, which: Callable[[Attempt], bool]) -> list[Attempt]:
        """Remove and return the matching attempts."""
        found: list[Attempt] = []
        for waiting in (self.queue, *(taker.bound for taker in self.takers)):
            matching = [attempt for attempt in waiting if which(attempt)]
            if matching:
                found += matching
                gone = set(map(id, matching))
                kept = [attempt for attempt in waiting if id(attempt) not in gone]
                waiting.clear()
                waiting.extend(kept)
        return found
