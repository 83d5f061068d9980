"""A case of ``overhead.py``: its subjects, which run one after the other, and the readings that judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from job import Job
from reading import Reading
from workbench import Workbench

RATE: Final = "messages_per_second"
CPU: Final = "cpu_us_per_message"
Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Case:
    """``jobs`` maps the subjects of a round to their jobs; ``readings`` depend on the measured Python."""

    name: str
    question: str
    jobs: Callable[[Workbench], Mapping[str, Job]]
    readings: Callable[[Version], Sequence[Reading]]
    most_rounds: int = 100
