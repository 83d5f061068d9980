"""The endpoint's view of a consumer. Any thread may make every call, and none waits for the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pyrallel_consumer.control_plane.policies import HealthLimits
from pyrallel_consumer.dto import RuntimeSnapshot
from pyrallel_consumer.observability.ailments import SignsOfLife
from pyrallel_consumer.observability.status.failure_kinds import FailureKinds
from pyrallel_consumer.observability.status.history import Moment
from pyrallel_consumer.observability.status.identity import Identity
from pyrallel_consumer.observability.status.status_feed import Look


@dataclass(frozen=True, slots=True)
class Watched:
    """One consumer. ``metrics`` are the numbers of ``get_metrics()``, ``picture`` is its latest snapshot.

    ``moments`` are its last minutes. A call of ``look`` makes the loop look closely for a while; the first one returns
    None. ``note_failure`` takes an error of a picture: the picture's name and the error.
    """

    group: str
    metrics: Callable[[], Mapping[str, Any]]
    picture: Callable[[], RuntimeSnapshot]
    signs_of_life: Callable[[], SignsOfLife]
    limits: HealthLimits
    moments: Callable[[], Sequence[Moment]]
    look: Callable[[], Look | None]
    note_failure: Callable[[str, Exception], None]
    has_group_label: bool = False
    identity: Identity = field(default_factory=lambda: Identity("", time.monotonic()))
    failures: FailureKinds = field(default_factory=FailureKinds)


AllWatched: TypeAlias = Callable[[], Sequence[Watched]]
"""The consumers that share one endpoint, as they are now."""
