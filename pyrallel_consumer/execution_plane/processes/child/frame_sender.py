"""Sends frames from a worker process: from any of its threads, whole and one after the other.

A finalizer, or a handler of a signal, may log at any moment, also in the middle of a frame that its own thread sends.
Its frame then waits until the other one is sent, so that a thread never waits for a lock that it holds itself.
uvloop makes the sockets that it watches non-blocking: a frame that does not fit then waits for the reader's side.
"""

from __future__ import annotations

import select
import threading
from collections import deque
from typing import Protocol

from pyrallel_consumer.execution_plane.processes import frames


class Connection(Protocol):
    """The methods of a socket that are used."""

    def send(self, data: memoryview, /) -> int: ...

    def fileno(self) -> int: ...


class FrameSender:
    """Sends frames through a connection; for any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._unsent: deque[bytes] = deque()
        self._is_sending = False

    def send(self, kind: int, body: bytes = b"") -> None:
        """Send a frame, and wait until the kernel has taken it. If this thread is already sending, it is sent next."""
        self._unsent.append(frames.frame(kind, body))
        with self._lock:
            # An interruption between the two loops sends by itself, or is seen by the outer one.
            while self._unsent and not self._is_sending:
                self._is_sending = True
                try:
                    while self._unsent:
                        self._send_whole(memoryview(self._unsent.popleft()))
                finally:
                    self._is_sending = False

    def _send_whole(self, data: memoryview) -> None:
        connection = self._connection
        while data:
            try:
                data = data[connection.send(data) :]
            except BlockingIOError:
                writable = select.poll()
                writable.register(connection.fileno(), select.POLLOUT)
                writable.poll()
