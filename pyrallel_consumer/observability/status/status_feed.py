"""The status page's data beside the snapshot: curves of the last minutes, and close-ups while somebody looks.

Owned by the event loop, which ticks it. Any thread may read ``moments`` and ask for a close-up. The loop notices that
at its next tick, and makes one a second until no request has come for a while. Without requests it costs a row of
numbers a second, and it never costs anything on a message's path.
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
"""One per process: all its pages show the same fingerprint of a key, and a key cannot be found by trying candidates."""
WATCHED_SECONDS: Final = 5.0
"""How long close-ups are made after somebody asked for one."""
CLOSE_UP_SECONDS: Final = 0.9
"""How old a close-up becomes while somebody looks: a page asks once a second and should find a new one each time."""

LogEnds = Mapping[tuple[str, int], int]


class Look(NamedTuple):
    """A close-up, and the snapshot of the same moment."""

    snapshot: RuntimeSnapshot
    close_up: CloseUp


class StatusFeed:
    """``under_way`` returns the engine's items, ``log_ends`` the ends of the logs as far as the poll thread knows."""

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
        """The latest close-up with the snapshot of the same moment, None if there is none yet: ask again soon."""
        self._asked_at = self._clock()
        return self._look

    # For the loop

    def tick(self, now: float) -> None:
        """It is ``now``. A close-up is made only right after a snapshot was published, so that the two agree."""
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
        """Make a close-up. If there are too many partitions, it prefers the ones that have been blocked for longest.

        The others follow by name, so that they do not change every second.
        """
        blocked = {each.tp: each.blocking_seconds for each in snapshot.partitions}
        waits = {tp: seconds for tp, seconds in blocked.items() if seconds >= BLOCKED_SECONDS}
        works = sorted(self._manager, key=lambda work: (-waits.get(work.tp, 0.0), work.tp))
        return close_up_of_all(works, self._under_way(), self._read_times, now, secret=FINGERPRINT_SECRET)


def totals(snapshot: RuntimeSnapshot, log_ends: LogEnds | None, now: float) -> Totals:
    """The numbers of a snapshot as one row. If a log's end is unknown, the last read offset counts as its end.

    Without ``log_ends`` no broker answers, and the lag is unknown.
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
