"""Finds the message that cannot be sent to a worker process, when a frame of several cannot be pickled."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from pyrallel_consumer.errors import ExecutionError
from pyrallel_consumer.execution_plane.processes.frames import PICKLE_PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.message import Row


def unsendable(item: WorkItem, pack: Callable[[WorkItem], Row]) -> ExecutionError | None:
    """Why the row that ``pack`` makes of ``item`` cannot be sent, None if it can."""
    try:
        pickle.dumps(pack(item), PICKLE_PROTOCOL)
    except Exception as error:  # noqa: BLE001 -- a message of a third party's may hold anything
        failure = ExecutionError(f"{item.id} cannot be sent to a worker process: {error}")
        failure.__cause__ = error
        return failure
    return None
