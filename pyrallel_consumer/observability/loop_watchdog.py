"""Notices from outside when the event loop stands still, and says in whose code.

A worker that blocks (``time.sleep``, a synchronous client, a long computation) stops every other worker and timer of
its loop. No callback on that loop can report it, so a thread of its own looks at the loop's last sign of life.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable

logger = logging.getLogger("pyrallel_consumer.observability")

LOOKS_PER_LIMIT = 4


class LoopWatchdog:
    """Warns once for each time that ``last_sign_of_life()`` is older than ``warn_seconds``, with the loop's stack.

    Made on the loop's thread. ``now`` is the clock that the signs of life are read from.
    """

    def __init__(
        self, last_sign_of_life: Callable[[], float], now: Callable[[], float], warn_seconds: float, worker_name: str
    ) -> None:
        self.blocked_count = 0
        self._last_sign_of_life = last_sign_of_life
        self._now = now
        self._warn_seconds = warn_seconds
        self._worker_name = worker_name
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pyrallel-consumer-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    @property
    def blocked_seconds(self) -> float:
        """How long the loop has given no sign of life."""
        return max(0.0, self._now() - self._last_sign_of_life())

    def _watch(self) -> None:
        is_reported = False
        while not self._stopped.wait(self._warn_seconds / LOOKS_PER_LIMIT):
            blocked_seconds = self.blocked_seconds
            if blocked_seconds < self._warn_seconds:
                is_reported = False
            elif not is_reported:
                is_reported = True
                self.blocked_count += 1
                self._warn(blocked_seconds)

    def _warn(self, blocked_seconds: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 -- the documented way to another thread's stack
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(the loop's thread is gone)"
        logger.warning(
            "the event loop has been blocked for %.1f s, probably by the worker %s: it must await, not block "
            "(blocking clients belong into ExecutionMode.THREAD, computations into ExecutionMode.PROCESS). Stack:\n%s",
            blocked_seconds,
            self._worker_name,
            stack,
        )
