"""How the poll thread reads and waits: its policy, and what it reads off the client's configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pyrallel_consumer.control_plane.membership import GAP_SECONDS
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.ingress.client.client_settings import MOST_READ_AHEAD
from pyrallel_consumer.ingress.polling.starts import PATIENCE_SECONDS
from pyrallel_consumer.ingress.reading.start_offset import Reset

RESETS: Final[Mapping[str, Reset]] = {
    **dict.fromkeys(("smallest", "earliest", "beginning"), "earliest"),
    **dict.fromkeys(("largest", "latest", "end"), "latest"),
}


@dataclass(frozen=True, slots=True)
class PollerPolicy:
    """How the poll thread reads and waits.

    ``start_timeout_seconds`` bounds the wait for a first broker's answer, ``start_patience_seconds`` the silence while
    it asks where new partitions begin.
    After it hung for more than ``gap_seconds``, it tells the loop.
    """

    poll_batch_size: int = 1000
    read_ahead: FlowLimits = MOST_READ_AHEAD
    revoke_grace_seconds: float = 0.5
    start_timeout_seconds: float = 10.0
    start_patience_seconds: float = PATIENCE_SECONDS
    pattern_refresh_seconds: float = 30.0
    gap_seconds: float = GAP_SECONDS


def reset_of(configuration: Mapping[str, Any]) -> Reset:
    """Where a group without an offset begins, by the client's configuration."""
    return RESETS.get(str(configuration.get("auto.offset.reset", "largest")).lower(), "error")


def refresh_seconds(configuration: Mapping[str, Any], otherwise: float) -> float:
    """Time between two looks for a pattern's topics: the user's client setting, if there is one."""
    try:
        milliseconds = int(configuration.get("topic.metadata.refresh.interval.ms", otherwise * 1000))
    except (TypeError, ValueError):
        return otherwise  # the client refuses it by name in a moment
    return milliseconds / 1000 if milliseconds > 0 else math.inf  # -1 turns the client's own looks off, too
