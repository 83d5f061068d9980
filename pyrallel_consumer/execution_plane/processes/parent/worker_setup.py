"""The setup that a program sends to its worker processes: the worker, where to import it from, what to log."""

from __future__ import annotations

import logging
import pickle
import sys
from multiprocessing import spawn
from pathlib import Path
from typing import TYPE_CHECKING

from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan


def packed_setup(
    worker: Callable[[WorkItem], object],
    initializer: Callable[[], object] | str | None,
    lifespan: Lifespan | None = None,
    *,
    has_loop: bool = False,
    timeout_seconds: float | None = None,
) -> bytes:
    """The setup of each process. The main module is imported only if it is needed.

    ``has_loop``: the worker is ``async def``, and the process keeps ``timeout_seconds``.
    """
    try:
        pickled_worker = pickle.dumps((worker, lifespan), frames.PICKLE_PROTOCOL)
        pickled_initializer = (
            pickle.dumps(initializer, frames.PICKLE_PROTOCOL) if callable(initializer) else initializer
        )
    except Exception as error:
        raise ConfigurationError(f"worker, initializer or lifespan cannot be sent to a process: {error}") from error
    facts = spawn.get_preparation_data("pyrallel-worker")
    needs_main = any(isinstance(said, bytes) and b"__main__" in said for said in (pickled_worker, pickled_initializer))
    main = {name: value for name, value in facts.items() if name.startswith("init_main")} if needs_main else {}
    levels = {"": logging.getLogger().level}
    for name, known in logging.root.manager.loggerDict.items():
        if isinstance(known, logging.Logger) and known.level:
            levels[name] = known.level
    setup = Setup(
        pickled_worker,
        pickled_initializer,
        main,
        list(sys.path),
        list(sys.argv),
        str(Path.cwd()),
        levels,
        has_loop,
        timeout_seconds,
    )
    return pickle.dumps(tuple(setup), frames.PICKLE_PROTOCOL)
