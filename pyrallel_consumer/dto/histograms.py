"""Histograms: how long messages took, and how large batches were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

DURATION_BOUNDS_SECONDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""Upper bounds, inclusive, of the buckets of durations; longer durations are in one more bucket."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations: ``counts`` by bucket of ``DURATION_BOUNDS_SECONDS``, not cumulated, and their sum."""

    counts: tuple[int, ...] = (0,) * (len(DURATION_BOUNDS_SECONDS) + 1)
    total_seconds: float = 0.0

    @property
    def bounds(self) -> tuple[float, ...]:
        return DURATION_BOUNDS_SECONDS

    @property
    def total(self) -> float:
        return self.total_seconds

    def __add__(self, other: Durations) -> Durations:
        counts = tuple(mine + others for mine, others in zip(self.counts, other.counts, strict=True))
        return Durations(counts, self.total_seconds + other.total_seconds)


BATCH_SIZE_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Upper bounds, inclusive, of the buckets that sizes of batches are counted in; larger ones are in one more."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many messages batches held: ``counts`` by bucket of ``BATCH_SIZE_BOUNDS``, not cumulated, and the sum."""

    counts: tuple[int, ...] = (0,) * (len(BATCH_SIZE_BOUNDS) + 1)
    total: int = 0

    @property
    def bounds(self) -> tuple[float, ...]:
        return BATCH_SIZE_BOUNDS

    def __add__(self, other: Sizes) -> Sizes:
        counts = tuple(mine + others for mine, others in zip(self.counts, other.counts, strict=True))
        return Sizes(counts, self.total + other.total)


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """Batches since the consumer began.

    ``waits`` is how long the first message of each waited for company. ``searches`` counts the batches that failed as a
    whole, ``search_calls`` the calls of the worker that searching them took. ``size_limit`` is the size of a full one.
    """

    size_limit: int = 1
    sizes: Sizes = field(default_factory=Sizes)
    waits: Durations = field(default_factory=Durations)
    searches: int = 0
    search_calls: int = 0

    @property
    def batches(self) -> int:
        return sum(self.sizes.counts)

    @property
    def mean_size(self) -> float:
        """Messages in a batch on average; 0.0 while there is none."""
        return self.sizes.total / self.batches if self.batches else 0.0

    @property
    def fill(self) -> float:
        """How full batches are on average, 0.0 to 1.0."""
        return self.mean_size / self.size_limit
