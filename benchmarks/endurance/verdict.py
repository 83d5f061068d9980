"""What a soak's samples say: does memory, or anything else, grow with the number of messages?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression, median
from typing import Final

from endurance.sample import Sample

WARM_UP_SHARE: Final = 0.1
BINS: Final = 50
MOST_MIB_PER_MILLION: Final = 1.0
COUNTED: Final = ("descriptors", "threads", "tasks", "processes")
SLACK: Final = 3
SLACK_SHARE: Final = 0.05
"""A count is flat that grows by no more than this between the first and the last quarter after the warm-up."""
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """``counts`` are the medians of the first and of the last quarter after the warm-up."""

    slope: float
    rss_mib: tuple[float, float]
    counts: dict[str, tuple[float, float]]
    messages: int
    seconds: float
    retries: int
    rebalances: int
    dead_letters: int
    most_gaps: int

    @property
    def growing(self) -> list[str]:
        """What grows; empty where all is flat."""
        names = [name for name, (first, last) in self.counts.items() if last > first + max(SLACK, first * SLACK_SHARE)]
        return (["RSS"] if self.slope >= MOST_MIB_PER_MILLION else []) + names


def judge(samples: Sequence[Sample]) -> Verdict:
    """Needs samples of both halves of a run."""
    last = samples[-1]
    warm = [sample for sample in samples if sample.messages >= last.messages * WARM_UP_SHARE]
    quarter = max(1, len(warm) // 4)
    counts = {
        name: (
            median(getattr(sample, name) for sample in warm[:quarter]),
            median(getattr(sample, name) for sample in warm[-quarter:]),
        )
        for name in COUNTED
    }
    return Verdict(
        slope=_slope(warm),
        rss_mib=(
            median(sample.rss_mib for sample in warm[:quarter]),
            median(sample.rss_mib for sample in warm[-quarter:]),
        ),
        counts=counts,
        messages=last.messages,
        seconds=last.seconds,
        retries=last.retries,
        rebalances=last.rebalances,
        dead_letters=last.dead_letters,
        most_gaps=max(sample.gaps for sample in samples),
    )


def _slope(samples: Sequence[Sample]) -> float:
    """MiB per million messages, through the means of equal stretches of messages: pauses weigh no more than work."""
    first, last = samples[0].messages, samples[-1].messages
    width = max(1.0, (last - first) / BINS)
    bins: dict[int, list[Sample]] = {}
    for sample in samples:
        bins.setdefault(int((sample.messages - first) / width), []).append(sample)
    points = [
        (fmean(sample.messages for sample in held) / MILLION, fmean(sample.rss_mib for sample in held))
        for held in bins.values()
    ]
    return linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else 0.0
