"""The description of one lap for a contender, and the two lines of its answer. Plain data: it travels as JSON."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

STARTED: Final = "started"
"""Printed once, at the first delivery: paced messages are sent only from then on."""
FIGURES: Final = "figures:"

GC_THRESHOLD: Final = 30_000
"""The settings that this library chooses by itself."""
INTENDED_DIGITS: Final = 20
FLAG_AT: Final = INTENDED_DIGITS
SLOW: Final = b"S"
PLAIN: Final = b"N"
WARM_UP: Final = b"W"
"""A value begins with the intended moment of its sending (monotonic clock, ns, 20 digits) and one flag."""


@dataclass(frozen=True, slots=True)
class LapPlan:
    """One lap. ``sample_mask``: latency is taken of offsets with none of these bits (0: of every message)."""

    bootstrap_servers: str
    topic: str
    group: str
    messages: int
    work: str = "noop"
    """noop, sleep, io (a wait for a socket that stays silent) or cpu."""
    work_ms: float = 0.0
    cpu_rounds: int = 0
    slow_factor: float = 1.0
    sample_mask: int = 0
    cap_seconds: float = 3.0
    """A lap ends this long after its first delivery; its rate counts the messages finished by then."""
    start_seconds: float = 30.0
    """How long the first delivery may take."""
    key_numbers: Mapping[str, Any] = field(default_factory=dict)
    """How the topic was filled (``traffic``), for the yardstick that reads no topic."""
    journal: str = ""
    """A file that every finished message is written to at once, for laps that are killed; empty: none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What only this contender understands."""
    client_settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read_plan(text: str) -> LapPlan:
    """The plan in the argument of a contender in Python. It also sets the garbage threshold that all of them have."""
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    return LapPlan(**json.loads(text))
