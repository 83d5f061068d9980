"""Forked children, for example of multiprocessing in a worker: signals end them, as they end any program.

A child inherits the handlers, and the file descriptor by which signals wake its parent's event loop. Without this,
``Process.terminate()`` and ``Pool`` do not end it, and a signal to the child reaches the parent.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DefaultsInForkedChildren:
    """From now on a forked child begins with default handlers for the stop signals whose handler is ``handler``.

    ``forget``, if given, is called in each child. Signals are blocked during the fork: otherwise a signal before the
    child has its default handlers would go to the parent's loop. On systems without fork nothing happens.
    """

    def __init__(self, handler: object, forget: Callable[[], None] | None = None) -> None:
        self._handler = handler
        self._forget = forget
        self._of_thread = threading.local()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._hold_back, after_in_parent=self._let_through, after_in_child=self._restore)

    def _hold_back(self) -> None:
        ours = [number for number in STOP_SIGNALS if signal.getsignal(number) == self._handler]
        self._of_thread.ours = ours
        if ours:
            self._of_thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ours)

    def _let_through(self) -> None:
        if self._of_thread.ours:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._of_thread.mask)

    def _restore(self) -> None:
        if self._of_thread.ours:
            for number in self._of_thread.ours:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            if self._forget is not None:
                self._forget()
        self._let_through()
