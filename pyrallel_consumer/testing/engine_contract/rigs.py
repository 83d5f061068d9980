"""Engines under test, made and stopped around each test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.testing.engine_contract.rig import Rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pyrallel_consumer.execution_plane.engine import ExecutionEngine

AT_ONCE = RetryPolicy(max_attempts=3, backoff_ms=0, jitter_ms=0, timeout_ms=0)
SLOTS = 4


class EngineRigs(ABC):
    """Gives tests rigs around the engines that ``make_engine`` makes."""

    overdue_work_is_killed = False
    """Whether attempts that time out, are cancelled or are abandoned die, as in processes, and so never return."""
    abandoned_work_is_killed = False
    """Whether only attempts that are abandoned at the deadline of a stop die."""

    @abstractmethod
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine: ...

    @pytest_asyncio.fixture
    async def rigs(self) -> AsyncIterator[list[Rig]]:
        """All rigs that a test made; stopped at its end."""
        made: list[Rig] = []
        yield made
        for rig in made:
            await rig.engine.stop(1)

    @pytest.fixture
    def gate(self, tmp_path: Path) -> Path:
        """A file that workers wait for; `touch` opens it."""
        return tmp_path / "gate"

    async def rig(self, rigs: list[Rig], policy: RetryPolicy = AT_ONCE, slots: int = SLOTS) -> Rig:
        rig = Rig(self.make_engine(policy, slots))
        rigs.append(rig)
        return await rig.start()
