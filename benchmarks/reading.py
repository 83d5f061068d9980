"""A reading: one number per round that a case is judged by, and what became of it over the rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from job import Figures

Round = Mapping[str, Figures]
"""The figures of each subject of a case, measured one right after the other."""


@dataclass(frozen=True, slots=True)
class Reading:
    """``of`` takes it from a round. ``at_least`` and ``below`` are targets; without either it is only shown."""

    title: str
    of: Callable[[Round], float]
    unit: str = "x"
    at_least: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reading over all rounds; ``is_met`` is None where there is no target. The median is judged."""

    title: str
    unit: str
    median: float
    lowest: float
    highest: float
    target: str
    is_met: bool | None


def over_rounds(reading: Reading, rounds: Sequence[Round]) -> Outcome:
    """Median and spread of ``reading``, judged."""
    values = [reading.of(one) for one in rounds]
    middle = median(values)
    target, is_met = "", None
    if reading.at_least is not None:
        target, is_met = f"≥ {reading.at_least:g}", middle >= reading.at_least
    elif reading.below is not None:
        target, is_met = f"< {reading.below:g}", middle < reading.below
    return Outcome(reading.title, reading.unit, middle, min(values), max(values), target, is_met)


def ratio(figure: str, measured: str, yardstick: str) -> Callable[[Round], float]:
    """``figure`` of one subject over that of the yardstick in the same round."""
    return lambda one: one[measured][figure] / one[yardstick][figure]


def plain(figure: str, measured: str) -> Callable[[Round], float]:
    """``figure`` of one subject as it is."""
    return lambda one: one[measured][figure]
