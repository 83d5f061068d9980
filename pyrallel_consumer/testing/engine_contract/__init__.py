"""The suite that every execution engine passes, ours and yours; needs pytest and pytest-asyncio, and nothing else does.

Subclass ``EngineContract`` under a name that pytest collects and say how an engine is made that runs the suite's own
worker (``async_worker`` or ``plain_worker``, whichever your engine calls)::

    from pyrallel_consumer.testing.engine_contract import EngineContract, plain_worker

    class TestMyEngine(EngineContract):
        def make_engine(self, policy, slots):
            return MyEngine(plain_worker, policy, slots)

An engine that is ``is_keeping_order`` subclasses ``OrderContract`` besides. The suite tests the contract in
``execution_plane.engine``; set ``overdue_work_is_killed`` if your engine kills overdue work.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.testing.engine_contract.order import OrderContract
    from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS, Rig
    from pyrallel_consumer.testing.engine_contract.rigs import SLOTS, EngineRigs
    from pyrallel_consumer.testing.engine_contract.work import EngineContract
    from pyrallel_consumer.testing.engine_contract.worker import async_worker, plain_worker, set_setting

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

_HOME = {
    "EngineContract": "work",
    "EngineRigs": "rigs",
    "OrderContract": "order",
    "PATIENCE_SECONDS": "rig",
    "Rig": "rig",
    "SLOTS": "rigs",
    "async_worker": "worker",
    "plain_worker": "worker",
    "set_setting": "worker",
}
_SUITE = ("work", "lifecycle", "order")
"""The modules with tests: pytest must be told of them before they are loaded."""


def __getattr__(name: str) -> object:
    """Load a name when it is asked for: a worker process needs the suite's worker, and would pay for pytest too."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    if home in _SUITE and f"{__name__}.{home}" not in sys.modules:
        import pytest  # noqa: PLC0415 -- see above

        pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _SUITE))
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
