"""SIGINT and SIGTERM while consumers run: passed to the event loop of each; the old handlers are restored later.

A process has one registry. The first consumer installs the handlers, and the last one restores the old ones, each
unless other code has replaced ours meanwhile. They are installed with ``signal.signal``, because a handler that an
event loop's ``add_signal_handler`` replaces cannot be restored. The loops' wakeup file descriptor stays unchanged,
because uvloop needs it to wake.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, Self

from pyrallel_consumer.errors import StateError
from pyrallel_consumer.execution_plane.processes.forked_children import STOP_SIGNALS, DefaultsInForkedChildren
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer")


def signals_to_take() -> Sequence[signal.Signals]:
    """SIGTERM, and SIGINT unless it is ignored: shells start background programs this way on purpose."""
    return [number for number in STOP_SIGNALS if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]


class StopSignals:
    """While the ``with`` block runs, each of the two signals calls ``on_signal`` on the running loop.

    Entering outside of the main thread raises StateError, unless a consumer in the main thread has installed the
    handlers: only the main thread can install them.
    """

    def __init__(self, on_signal: Callable[[signal.Signals], None]) -> None:
        self._on_signal = on_signal

    def __enter__(self) -> Self:
        self._listener = _Listener(asyncio.get_running_loop(), self._on_signal)
        _registry.add(self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _registry.remove(self._listener)


class _Listener(NamedTuple):
    loop: asyncio.AbstractEventLoop
    on_signal: Callable[[signal.Signals], None]

    def tell(self, number: signal.Signals) -> bool:
        """Returns False if its loop is closed, so that the signal reaches no consumer."""
        try:
            self.loop.call_soon_threadsafe(self.on_signal, number)
        except RuntimeError:
            return False
        return True


class _Registry:
    """The listeners, and the handlers that ours replaced. Our handler takes no lock: it may interrupt any code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[_Listener] = []
        self._found: dict[signal.Signals, Any] = {}
        DefaultsInForkedChildren(self._hear, self._forget)

    def add(self, listener: _Listener) -> None:
        with self._lock:
            if threading.current_thread() is threading.main_thread():
                self._listeners.append(listener)
                self._take()
            elif self._found:
                self._listeners.append(listener)
            else:
                raise StateError("run() takes signals, which only the main thread gets: use start() and stop() here")

    def remove(self, listener: _Listener) -> None:
        with self._lock:
            left = [each for each in self._listeners if each != listener and not each.loop.is_closed()]
            if not left and threading.current_thread() is threading.main_thread():
                self._give_back()
            self._listeners[:] = left

    def _take(self) -> None:
        numbers = signals_to_take()
        if signal.SIGINT not in numbers and not self._found:
            logger.info("SIGINT was ignored when this program started, and stays so: SIGTERM stops it")
        for number in numbers:
            found = signal.getsignal(number)
            if found != self._hear:
                self._found[number] = found
                signal.signal(number, self._hear)

    def _give_back(self) -> None:
        for number, found in self._found.items():
            if signal.getsignal(number) == self._hear:
                # None: a handler that Python did not install and cannot restore.
                signal.signal(number, signal.SIG_DFL if found is None else found)
        self._found.clear()

    def _hear(self, number: int, _: FrameType | None) -> None:
        heard = [listener.tell(signal.Signals(number)) for listener in tuple(self._listeners)]
        if not any(heard):  # The last one has ended on another thread, or its loop was closed under it.
            self._give_back()
            signal.raise_signal(number)

    def _forget(self) -> None:
        """Called in a forked child, which consumes nothing."""
        self._lock = threading.Lock()  # Another thread may have held it.
        self._listeners.clear()
        self._found.clear()


_registry: Final = _Registry()
