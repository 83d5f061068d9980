"""What the demo was asked to do, and the exit codes it answers with. Light: the command line loads it always."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_SIGNALLED: Final = 128
"""And the signal's number."""


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
