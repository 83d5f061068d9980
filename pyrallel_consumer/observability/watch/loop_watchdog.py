"""Watches the event loop from outside: notices when it hangs, and in whose code, and when it is gone.

A worker that blocks (``time.sleep``, a synchronous client, a long computation) stops every other worker and timer of
its loop. No callback on that loop can report it, so a separate thread checks the loop's last sign of life. A worker
that blocks for a moment with every message is as bad, and never blocks for long. It shows in how often the loop
is late. The same thread notices a loop that was closed without a stop, which no callback can report either.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Final

from pyrallel_consumer.log import Log
from pyrallel_consumer.observability.watch.thread_stacks import thread_stacks

logger = Log("pyrallel_consumer.observability")

LOOKS_PER_LIMIT: Final = 4
LATE_SECONDS: Final = 0.2
"""The loop gives a sign of life every 50 ms, or 125 ms while idle; after this time it is late."""
LOOKS_TOGETHER: Final = 16
MOST_LATE_SHARE: Final = 0.5
LONGEST_LOOK_SECONDS: Final = 0.5
"""A loop that is gone is noticed within this time."""
MOST_OTHER_THREADS: Final = 20
OTHERS_FRAMES: Final = 3
OUR_THREADS: Final = ("pyrallel-poller", "pyrallel-dead-letters", "pyrallel-http", "pyrallel-watchdog", "waitress-")
"""Threads that run no user code, and for which no loop waits."""


class LoopWatchdog:
    """Warns once for each time that ``last_sign_of_life()`` is older than ``warn_seconds``, with the loop's stack.

    It also warns when half of the last 16 looks (8 s, unless ``warn_seconds`` is short) found the loop late.
    Made on the loop's thread. ``now`` is the clock of the signs of life. ``on_loop_closed`` is called
    on the watchdog's thread, which then ends. ``note_failure`` gets an error of the watchdog itself.
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
        note_failure: Callable[[str, Exception], None],
    ) -> None:
        self.blocked_count = 0
        self._loop = loop
        self._last_sign_of_life = last_sign_of_life
        self._now = now
        self._warn_seconds = warn_seconds
        self._worker_name = worker_name
        self._on_loop_closed = on_loop_closed
        self._note_failure = note_failure
        self._loop_thread = threading.get_ident()
        self._late_looks: deque[bool] = deque(maxlen=LOOKS_TOGETHER)
        self._is_sluggish = False
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
        blocked_seconds = 0.0
        look_seconds = min(LONGEST_LOOK_SECONDS, self._warn_seconds / LOOKS_PER_LIMIT)
        while not self._stopped.wait(look_seconds):
            if self._loop.is_closed():
                self._on_loop_closed()
                return
            before, blocked_seconds = blocked_seconds, self._now() - self._last_sign_of_life()
            was_reported, is_reported = is_reported, blocked_seconds >= self._warn_seconds
            try:
                self._look_at_lateness(is_late=blocked_seconds > LATE_SECONDS)
                if was_reported and not is_reported:
                    logger.info("the event loop turns again, after %.1f s or a little more", before)
                elif is_reported and not was_reported:
                    self._warn(blocked_seconds)
            except Exception as error:  # noqa: BLE001 -- a closed loop must be noticed whatever fails here
                self._note_failure("the watchdog", error)
            self.blocked_count += is_reported and not was_reported

    def _look_at_lateness(self, *, is_late: bool) -> None:
        looks = self._late_looks
        looks.append(is_late)
        is_sluggish = len(looks) == LOOKS_TOGETHER and sum(looks) >= MOST_LATE_SHARE * LOOKS_TOGETHER
        # Logged while it is late: then the stack shows the cause.
        if is_sluggish and is_late and not self._is_sluggish and self._loop.is_running():
            self._is_sluggish = True
            logger.warning(
                "the event loop is late more often than not: %d of %d looks found that it had not turned for %.1f s, "
                "%s Stack:\n%s",
                *(sum(looks), LOOKS_TOGETHER, LATE_SECONDS, self._advice(), self._stack()),
            )
        elif not any(looks):
            self._is_sluggish = False

    def _warn(self, blocked_seconds: float) -> None:
        if not self._loop.is_running():
            logger.warning(
                "the event loop has not run for %.1f s, and the consumer stands still with it", blocked_seconds
            )
            return
        self._is_sluggish = True  # the same, and worse
        logger.warning(
            "the event loop has been blocked for %.1f s, %s Stack:\n%s",
            *(blocked_seconds, self._advice(), self._stack() + self._other_stacks()),
        )

    def _advice(self) -> str:
        return (
            f"probably by the worker {self._worker_name}: it must await, not block (blocking clients belong into "
            "ExecutionMode.THREAD, computations into ExecutionMode.PROCESS)."
        )

    def _stack(self) -> str:
        stack = thread_stacks().get(self._loop_thread)
        return "".join(traceback.format_list([*stack()])) if stack is not None else "(the loop's thread was not seen)"

    def _other_stacks(self) -> str:
        """The innermost frames of other threads: the loop may wait for one of them."""
        stacks = thread_stacks()
        parts: list[str] = []
        for thread in threading.enumerate():
            stack = None if thread.ident is None else stacks.get(thread.ident)
            if stack is None or thread.ident == self._loop_thread or thread.name.startswith(OUR_THREADS):
                continue
            if len(parts) == MOST_OTHER_THREADS:
                parts.append("More threads are left out.\n")
                break
            ends = traceback.format_list([*stack()][-OTHERS_FRAMES:])
            parts.append(f"Thread {thread.name}, most recent call last:\n{''.join(ends)}")
        return "".join(parts).rstrip()
