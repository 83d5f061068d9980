"""The latest snapshot of one consumer: taken on its loop, read by any thread.

If a snapshot cannot be taken, the last one stays, with the present state and number of failures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pyrallel_consumer.dto import RuntimeSnapshot
from pyrallel_consumer.observability.ailments import holds_starts
from pyrallel_consumer.observability.pictures import Pictures
from pyrallel_consumer.observability.watch.blocking_watch import BlockingWatch

PUBLISH_SECONDS: Final = 0.25
"""How old the snapshot for other threads may become, unless it takes long to make."""
LONGEST_SECONDS: Final = 1.0
"""How old the snapshot may become with thousands of partitions."""
SHARE: Final = 0.02
"""Part of the time that snapshots may take."""


class Published:
    """``take`` makes the snapshot of a consumer in the named state; ``latest`` is None until the first ``become``.

    ``clock`` tells the CPU time of the loop's thread.
    """

    def __init__(
        self,
        take: Callable[[str], RuntimeSnapshot],
        watch: BlockingWatch,
        pictures: Pictures,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.latest: RuntimeSnapshot | None = None
        self._take = take
        self._watch = watch
        self._pictures = pictures
        self._clock = clock
        self._state = "new"
        self._is_due_at = float("-inf")

    def become(self, state: str) -> None:
        """The consumer's state has changed: show it at once."""
        self._state = state
        self._publish()

    def tick(self, now: float) -> None:
        """It is ``now``: take a new snapshot if the last one is old, and check it for blocking offsets."""
        if now < self._is_due_at:
            return
        began_at = self._clock()
        self._is_due_at = now + PUBLISH_SECONDS
        self._publish()
        if self.latest is not None:
            self._watch.look(self.latest.partitions, now, are_slots_awaited=not holds_starts(self.latest))
        took = self._clock() - began_at
        self._is_due_at = now + min(max(PUBLISH_SECONDS, took / SHARE), LONGEST_SECONDS)

    def _publish(self) -> None:
        try:
            self.latest = self._take(self._state)
        except Exception as error:  # noqa: BLE001 -- pictures end nothing: see ``Pictures``
            self._pictures.note("the snapshot", error)
            if self.latest is not None:
                failures = self._pictures.failures
                self.latest = replace(self.latest, state=self._state, picture_failures=failures)
