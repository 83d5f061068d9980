"""The options of the demo. Light, because the command line always loads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The options; ``bootstrap_servers`` is None for the demo's own broker.

    ``fail_rate`` is a share of the orders.
    """

    messages: int
    keys: int
    partitions: int
    worker_ms: float
    bootstrap_servers: str | None
    seed: int
    fail_rate: float = 0.0
