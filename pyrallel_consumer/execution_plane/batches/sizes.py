"""How large batches are and how long their first messages waited for company: plain numbers, read when scraped."""

from __future__ import annotations

from bisect import bisect_left

from pyrallel_consumer.dto import BATCH_SIZE_BOUNDS, DURATION_BOUNDS_SECONDS, BatchFigures, Durations, Sizes


class BatchSizes:
    """Of one engine since it was made. ``most`` is the size of a full batch."""

    def __init__(self, most: int) -> None:
        self.searches = 0
        self.search_calls = 0
        self._most = most
        self._sizes = [0] * (len(BATCH_SIZE_BOUNDS) + 1)
        self._messages = 0
        self._waits = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        self._waited_seconds = 0.0

    def note(self, size: int, waited_seconds: float) -> None:
        """A batch of ``size`` messages is complete; its first message waited ``waited_seconds``."""
        self._sizes[bisect_left(BATCH_SIZE_BOUNDS, size)] += 1
        self._messages += size
        self._waits[bisect_left(DURATION_BOUNDS_SECONDS, waited_seconds)] += 1
        self._waited_seconds += waited_seconds

    def figures(self) -> BatchFigures:
        """The figures as they are now."""
        return BatchFigures(
            size_limit=self._most,
            sizes=Sizes(tuple(self._sizes), self._messages),
            waits=Durations(tuple(self._waits), self._waited_seconds),
            searches=self.searches,
            search_calls=self.search_calls,
        )
