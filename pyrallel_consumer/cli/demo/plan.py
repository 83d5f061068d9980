"""What the demo was asked to do. Light: the command line loads it always."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The options; ``bootstrap_servers`` is None for a broker of the demo's own.

    ``fail_rate`` is a share of the orders.
    """

    messages: int
    keys: int
    partitions: int
    worker_ms: float
    bootstrap_servers: str | None
    seed: int
    fail_rate: float = 0.0
