"""Ends clients on threads of their own, because the end of a client may take long.

A consumer waits up to a session timeout for the answer to its last commit. A client whose brokers came and went may
wait forever for the thread of one of them (librdkafka 2.16). Nothing can end such a wait.
"""

from __future__ import annotations

import gc
import threading
from typing import Any, Final

FORGOTTEN: Final = "pyrallel-forgotten-client"


def forget(left: list[Any], *, is_from_poll_thread: bool = False) -> None:
    """End the clients in this list, and empty it. Nothing else may refer to them; their callbacks are not called."""
    threading.Thread(target=_end, args=(left, is_from_poll_thread), name=FORGOTTEN, daemon=True).start()


def _end(left: list[Any], is_from_poll_thread: bool) -> None:  # noqa: FBT001 -- an argument of a thread
    if is_from_poll_thread:
        gc.collect()  # Exceptions of past calls may refer to the client; the thread that frees the last one waits.
    left.clear()
