"""The suite that every execution engine passes, ours and yours; needs pytest and pytest-asyncio, and nothing else does.

Subclass ``EngineContract`` under a name that pytest collects and say how an engine is made that runs the suite's own
worker (``async_worker`` or ``plain_worker``, whichever your engine calls)::

    from pyrallel_consumer.testing.engine_contract import EngineContract, plain_worker

    class TestMyEngine(EngineContract):
        def make_engine(self, policy, slots):
            return MyEngine(plain_worker, policy, slots)

An engine that is ``is_keeping_order`` subclasses ``OrderContract`` besides. What is tested is what
``execution_plane.engine`` lays down; set ``overdue_work_is_killed`` where yours kills what may not go on.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("rig", "rigs", "work", "lifecycle", "order")))

from pyrallel_consumer.testing.engine_contract.order import OrderContract  # noqa: E402 -- after the line above
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS, Rig  # noqa: E402 -- as above
from pyrallel_consumer.testing.engine_contract.rigs import SLOTS, EngineRigs  # noqa: E402 -- as above
from pyrallel_consumer.testing.engine_contract.work import EngineContract  # noqa: E402 -- as above
from pyrallel_consumer.testing.engine_contract.worker import (  # noqa: E402 -- as above
    async_worker,
    plain_worker,
    set_setting,
)

__all__ = [
    "PATIENCE_SECONDS",
    "SLOTS",
    "EngineContract",
    "EngineRigs",
    "OrderContract",
    "Rig",
    "async_worker",
    "plain_worker",
    "set_setting",
]
