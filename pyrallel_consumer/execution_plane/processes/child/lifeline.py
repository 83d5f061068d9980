"""Ends a worker process when its parent process is gone, whatever code it is running at that moment.

The engine holds one end of a socket and never writes. Its death, even by kill -9, closes it. On Linux the kernel then
sends SIGIO, whose default ends the process even in the middle of C code; elsewhere a thread waits for the end.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading


def hold(fd: int) -> None:
    """From now on this process ends when the other end of the socket ``fd`` is closed."""
    if sys.platform == "linux":
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
        if select.select([fd], [], [], 0)[0]:  # It was closed before the signal could be set up.
            os._exit(1)
    else:
        threading.Thread(target=_wait_for_the_end, args=(fd,), name="pyrallel-lifeline", daemon=True).start()


def _wait_for_the_end(fd: int) -> None:
    select.select([fd], [], [])
    os._exit(1)
