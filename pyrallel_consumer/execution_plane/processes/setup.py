"""The setup of a worker process, and whether this process is a worker process that loads its worker.

Light, because every worker process imports it. ``parent/worker_setup`` makes and packs a setup.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_state = {"is_loading": False}


class Setup(NamedTuple):
    """The data that make a process a worker. ``pickled_worker`` is a pair: the worker, and the lifespan or None.

    ``main`` is multiprocessing's way to the program's main module. ``has_loop``: the worker is ``async def``; only then
    ``timeout_seconds`` counts, else the engine keeps the time.
    """

    pickled_worker: bytes
    initializer: bytes | str | None
    main: dict[str, Any]
    path: list[str]
    arguments: list[str]
    folder: str
    log_levels: dict[str, int]
    has_loop: bool
    timeout_seconds: float | None


def is_loading() -> bool:
    """Whether this process is a worker process that is importing the program's main module."""
    return _state["is_loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Inside this block ``is_loading`` is true."""
    _state["is_loading"] = True
    try:
        yield
    finally:
        _state["is_loading"] = False
