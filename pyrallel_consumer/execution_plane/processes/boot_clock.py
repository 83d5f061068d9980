"""A clock that goes on while the machine is suspended, and is the same in all processes of a machine.

Linux has one (CLOCK_BOOTTIME). Systems without it use the monotonic clock, and a suspend goes unnoticed.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

boot_seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
