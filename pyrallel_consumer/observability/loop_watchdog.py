"""Looks at the event loop from outside: notices when it stands still, and says in whose code, and when it is gone.

A worker that blocks (``time.sleep``, a synchronous client, a long computation) stops every other worker and timer of
its loop. No callback on that loop can report it, so a thread of its own looks at the loop's last sign of life. The same
thread sees a loop that was closed without a stop, which no callback can tell either.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

logger = logging.getLogger("pyrallel_consumer.observability")

LOOKS_PER_LIMIT: Final = 4
LONGEST_LOOK_SECONDS: Final = 0.5
"""A loop that is gone is noticed so late at most."""


class LoopWatchdog:
    """Warns once for each time that ``last_sign_of_life()`` is older than ``warn_seconds``, with the loop's stack.

    Made on the loop's thread. ``now`` is the clock that the signs of life are read from. ``on_loop_closed`` is called
    on the watchdog's thread, which then ends.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        last_sign_of_life: Callable[[], float],
        now: Callable[[], float],
        warn_seconds: float,
        worker_name: str,
        on_loop_closed: Callable[[], None],
    ) -> None:
        self.blocked_count = 0
        self._loop = loop
        self._last_sign_of_life = last_sign_of_life
        self._now = now
        self._warn_seconds = warn_seconds
        self._worker_name = worker_name
        self._on_loop_closed = on_loop_closed
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pyrallel-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self) -> None:
        is_reported = False
        look_seconds = min(LONGEST_LOOK_SECONDS, self._warn_seconds / LOOKS_PER_LIMIT)
        while not self._stopped.wait(look_seconds):
            if self._loop.is_closed():
                self._on_loop_closed()
                return
            blocked_seconds = self._now() - self._last_sign_of_life()
            if blocked_seconds < self._warn_seconds:
                is_reported = False
            elif not is_reported:
                is_reported = True
                self.blocked_count += 1
                self._warn(blocked_seconds)

    def _warn(self, blocked_seconds: float) -> None:
        if not self._loop.is_running():
            logger.warning(
                "the event loop has not run for %.1f s, and the consumer stands still with it", blocked_seconds
            )
            return
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 -- the documented way to another thread's stack
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(the loop's thread is gone)"
        logger.warning(
            "the event loop has been blocked for %.1f s, probably by the worker %s: it must await, not block "
            "(blocking clients belong into ExecutionMode.THREAD, computations into ExecutionMode.PROCESS). Stack:\n%s",
            blocked_seconds,
            self._worker_name,
            stack,
        )
