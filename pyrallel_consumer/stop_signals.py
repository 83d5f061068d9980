"""SIGINT and SIGTERM while a consumer runs: told to the event loop, and handed back as they were found afterwards."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

from pyrallel_consumer.errors import StateError

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While the block runs, each of the two signals calls ``on_signal`` on the running loop.

    Raises StateError on entering outside of the main thread, where Python delivers no signals.
    """

    def __init__(self, on_signal: Callable[[signal.Signals], None]) -> None:
        self._on_signal = on_signal
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            raise StateError("run() takes signals, which only the main thread gets: use start() and stop() here")
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            self._before[number] = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, self._on_signal, number)
            except NotImplementedError:  # Windows
                signal.signal(number, self._told_to(loop))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number, before in self._before.items():
            with suppress(NotImplementedError):  # Windows
                loop.remove_signal_handler(number)
            if before is not None:
                signal.signal(number, before)

    def _told_to(self, loop: asyncio.AbstractEventLoop) -> Callable[[int, FrameType | None], None]:
        def tell(number: int, _: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._on_signal, signal.Signals(number))

        return tell
