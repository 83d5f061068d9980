"""Which process the status page shows: its host, its number, its worker, its release, and since when it runs."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Identity:
    """``started_at`` is a time of ``time.monotonic()``; ``worker`` is the worker's name."""

    worker: str
    started_at: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
