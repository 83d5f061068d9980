"""The async engine: ``AsyncEngine`` is the form that is fastest on this Python.

From Python 3.12 on a task can take its first step while it is made (*eager*), so drivers begin where work is submitted.
Before that they begin in the loop's next turn. Both keep the same contract.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from pyrallel_consumer.execution_plane.driver_engine import DriverEngine


class EagerEngine(DriverEngine):
    """Its drivers have taken all first steps when ``submit`` returns."""

    is_eager: ClassVar[bool] = True


AsyncEngine: type[DriverEngine] = EagerEngine if sys.version_info >= (3, 12) else DriverEngine
