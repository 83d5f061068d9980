"""What the status page shows beyond the snapshot: curves of the last minutes, and close-ups while somebody looks.

Owned by the event loop, which ticks it. Any thread may read ``moments`` and ask for a close-up: the loop sees at its
next tick that somebody did, and makes one a second until nobody has asked for a while. Nobody looking costs a row of
numbers a second, and never anything on the way of a message.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, RuntimeSnapshot
from pyrallel_consumer.observability.status.close_up import CloseUp, UnderWay, close_up_of_all
from pyrallel_consumer.observability.status.history import History, Moment, Totals
from pyrallel_consumer.observability.status.read_times import ReadTimes
from pyrallel_consumer.observability.status.verdict import BLOCKED_SECONDS

FINGERPRINT_SECRET: Final = secrets.token_bytes(16)
"""Of this process: its pages show a key alike, and nobody can tell a key from what they show by trying keys."""
WATCHED_SECONDS: Final = 5.0
"""How long after somebody asked close-ups are made."""
CLOSE_UP_SECONDS: Final = 0.9
"""How old a close-up becomes while somebody looks: a page asks once a second and is to find a new one each time."""

LogEnds = Mapping[tuple[str, int], int]


class Look(NamedTuple):
    """A close-up, and the snapshot of the same moment."""

    snapshot: RuntimeSnapshot
    close_up: CloseUp


class StatusFeed:
    """``under_way`` tells what the engine does now, ``log_ends`` where the logs end as far as the poll thread knows."""

    def __init__(
        self,
        manager: WorkManager,
        *,
        picture: Callable[[], RuntimeSnapshot],
        under_way: Callable[[], UnderWay],
        log_ends: Callable[[], LogEnds],
        clock: Callable[[], float],
    ) -> None:
        self.close_ups_made = 0
        self._manager = manager
        self._picture = picture
        self._under_way = under_way
        self._log_ends = log_ends
        self._clock = clock
        self._history = History(DURATION_BOUNDS_SECONDS)
        self._read_times = ReadTimes()
        self._asked_at = float("-inf")
        self._last_snapshot: RuntimeSnapshot | None = None
        self._look: Look | None = None

    # For any thread

    @property
    def moments(self) -> tuple[Moment, ...]:
        """The last minutes, oldest first."""
        return self._history.moments

    def look(self) -> Look | None:
        """The latest close-up with the snapshot of that moment, None where there is none yet: ask again soon."""
        self._asked_at = self._clock()
        return self._look

    # For the loop

    def tick(self, now: float) -> None:
        """It is ``now``. A close-up is made where a snapshot was just published, so that the two agree."""
        snapshot = self._picture()
        if self._history.is_due(now):
            log_ends = self._log_ends() if snapshot.is_broker_connected else None
            self._history.note(totals(snapshot, log_ends, now))
            self._read_times.look(now, [((work.tp, work.epoch), work.tracker.next_offset) for work in self._manager])
        if now > self._asked_at + WATCHED_SECONDS:
            self._look = None
        elif snapshot is not self._last_snapshot and (
            self._look is None or now >= self._look.close_up.taken_at + CLOSE_UP_SECONDS
        ):
            self._look = Look(snapshot, self._look_closely(snapshot, now))
            self.close_ups_made += 1
        self._last_snapshot = snapshot

    def _look_closely(self, snapshot: RuntimeSnapshot, now: float) -> CloseUp:
        """Where there are too many partitions for one picture, those that are blocked for longest have their place.

        The others come by name, for pictures that come and go with every second would help nobody.
        """
        blocked = {each.tp: each.blocking_seconds for each in snapshot.partitions}
        waits = {tp: seconds for tp, seconds in blocked.items() if seconds >= BLOCKED_SECONDS}
        works = sorted(self._manager, key=lambda work: (-waits.get(work.tp, 0.0), work.tp))
        return close_up_of_all(works, self._under_way(), self._read_times, now, secret=FINGERPRINT_SECRET)


def totals(snapshot: RuntimeSnapshot, log_ends: LogEnds | None, now: float) -> Totals:
    """The row of numbers that a snapshot amounts to. Where the log's end is not known, what was read counts as all.

    Without ``log_ends`` no broker answers, and nobody knows the lag.
    """
    is_lag_known, log_ends = log_ends is not None, log_ends or {}
    latency = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
    lag, backlog = 0, snapshot.load_messages
    backlogs: dict[object, int] = {}
    for each in snapshot.partitions:
        end = max(each.fetched_offset, log_ends.get(each.tp, 0))
        lag += end - each.committed_offset
        backlog += end - each.fetched_offset
        if each.tp in log_ends:
            unfinished = each.queued + each.in_flight + each.held
            backlogs[each.tp, each.epoch] = end - each.fetched_offset + unfinished
        if each.latency is not None:
            latency = [mine + more for mine, more in zip(latency, each.latency.counts, strict=True)]
    load, in_flight = snapshot.load_messages, snapshot.in_flight
    return Totals(
        at=now,
        finished=snapshot.processed,
        failed=snapshot.failed,
        lag=lag if is_lag_known else None,
        backlog=backlog,
        load=load,
        in_flight=in_flight,
        latency=latency,
        backlogs=backlogs,
    )
