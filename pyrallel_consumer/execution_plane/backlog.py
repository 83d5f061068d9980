"""What waits in the process engine to be sent, in order; and what of it must go to which process. Pure.

While anything of a run is with a process, the rest of the run is *bound* to it: that process works in order, and no
other may begin it. Bound attempts are earlier in their runs than those in the queue, and later than those sent.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.runs import Run, Runs


class Taker(Protocol):
    """A process, as far as it matters here; ``bound`` belongs to the backlog."""

    bound: deque[Attempt]


class Backlog:
    """One queue for all processes, and behind it what is bound to one. ``takers`` are those that are alive."""

    def __init__(self, runs: Runs) -> None:
        self.queue: deque[Attempt] = deque()
        self.takers: Sequence[Taker] = ()
        self._runs = runs

    def __bool__(self) -> bool:
        return bool(self.queue) or any(taker.bound for taker in self.takers)

    def add(self, attempt: Attempt) -> None:
        """The last of all."""
        self.queue.append(attempt)

    def add_retries(self, attempts: Iterable[Attempt]) -> None:
        """Before all others: they are the first of their runs."""
        self.queue.extendleft(reversed(list(attempts)))

    def take_for(self, taker: Taker) -> tuple[Attempt, int] | None:
        """The next attempt that ``taker`` may be sent, and the number of its run, 0 for none.

        What comes up meanwhile and is bound to another is put there.
        """
        queue, of = self.queue, self._runs.of
        if taker.bound:
            attempt = taker.bound.popleft()
            run = of(attempt.root)
            return attempt, 0 if run is None else run.number
        while queue:
            attempt = queue.popleft()
            run = of(attempt.root)
            if run is None:
                return attempt, 0
            if run.place is None:
                run.place = taker
            run.placed.add(attempt.root)
            if run.place is taker:
                return attempt, run.number
            run.place.bound.append(attempt)  # type: ignore[attr-defined]  # all places are takers
        return None

    def put_back(self, taker: Taker, attempts: Iterable[Attempt]) -> None:
        """These never began, and go first, in their order; and behind them, for order's sake, what is bound there.

        A process hands back frame by frame, so what stands before them in their runs may be back already: then they
        go behind that.
        """
        back = [*attempts, *taker.bound]
        taker.bound.clear()
        for attempt in back:
            attempt.handle = None
            self._runs.unplaced(attempt.root)
        self.queue.extendleft(reversed(back))
        self._restore_order({id(run): run for attempt in back if (run := self._runs.of(attempt.root)) is not None})

    def _restore_order(self, runs: dict[int, Run]) -> None:
        """Have what is queued of each of ``runs`` stand in the order of its submission, in the places it has."""
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
        """Remove and return what matches."""
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
