"""The engine's handle on one worker process: its start, its socket on the event loop, its end.

Writing never blocks and reading never stops, so neither side can wait for the other forever. A process counts as ended
when the kernel says so and then everything that it had sent was read. Only then ``ended`` is called.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import contextmanager, suppress
from multiprocessing import spawn
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.processes import frames

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

REAP_SECONDS: Final = 0.002
"""How often a process that is about to end is checked."""
_PROGRAM = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from pyrallel_consumer.execution_plane.processes.child.worker_process import main; "
    "main({socket}, {lifeline}, {marker})"
)


class Listener(Protocol):
    """Gets the frames and the end of a process; on the loop's thread."""

    def told(self, child: ChildProcess, kind: int, body: bytes) -> None:
        """The process sent a frame."""

    def ended(self, child: ChildProcess) -> None:
        """The process is gone; nothing more comes from it."""

    def broke(self, error: BaseException) -> None:
        """There is a bug, which would stay unnoticed otherwise."""


class SharedMemory(Protocol):
    """Memory that the process inherits beside its socket: see ``progress_marker`` and ``slot_marker``."""

    @property
    def fd(self) -> int: ...

    def close(self) -> None: ...


class ChildProcess:
    """Starts a process that runs ``worker_process`` and sends it ``setup``. OSError when it cannot be started.

    ``marker`` belongs to the process from now on and is closed with it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, setup: bytes, listener: Listener, marker: SharedMemory) -> None:
        self.is_killed = False
        self.is_closing = False
        self._marker = marker
        self._has_ended = False
        self._loop = loop
        self._listener = listener
        self._reader = frames.FrameReader()
        self._unsent: deque[memoryview] = deque()
        self._reaping: asyncio.TimerHandle | None = None
        self._is_read_to_the_end = False
        self._socket, theirs = socket.socketpair()
        self._lifeline, their_lifeline = socket.socketpair()
        self._socket.setblocking(False)
        try:
            self._process = _started(theirs.fileno(), their_lifeline.fileno(), marker.fd)
        except BaseException:
            self._close_files()
            raise
        finally:
            theirs.close()
            their_lifeline.close()
        loop.add_reader(self._socket, self._guarded, self._read)
        self.send(frames.SETUP, setup)

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it is gone, and everything that it sent was read."""
        return self._has_ended

    @property
    def how_it_ended(self) -> str:
        """For humans: its exit code or the signal that killed it."""
        code = self._process.returncode
        if code is None or code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def send(self, kind: int, body: bytes) -> None:
        """Send a frame, as soon as the process takes it."""
        data = memoryview(frames.frame(kind, body))
        if not self._unsent:
            data = self._sent(data)
            if data:
                self._loop.add_writer(self._socket, self._guarded, self._on_writable)
        if data:
            self._unsent.append(data)

    def read_all(self) -> None:
        """Read everything that the process has sent up to now."""
        while not self._is_read_to_the_end and self._read():
            pass

    def look(self) -> None:
        """Notice the end of a process even if a program that it started still holds its socket open."""
        if self._process.poll() is not None and not self._is_read_to_the_end:
            self.read_all()
            self._end_reading()

    def close(self) -> None:
        """Ask the process to end when it has done everything that it was sent."""
        if not self.is_closing and not self._has_ended:
            self.is_closing = True
            if not self._unsent:
                self._shut_down()

    def kill(self) -> None:
        """Kill -9."""
        if not self._has_ended:
            self.is_killed = True
            self._process.kill()

    # Inside

    def _guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as bug:  # noqa: BLE001 -- this is ours: it must reach the consumer, not the event loop
            self._listener.broke(bug)

    def _read(self) -> bool:
        """Read once; returns whether there may be more to read."""
        try:
            data = self._socket.recv(frames.READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""  # The process died with something unread: all it had sent comes before this.
        if not data:
            self._end_reading()
            return False
        for kind, body in self._reader.feed(data):
            self._listener.told(self, kind, body)
        return True

    def _end_reading(self) -> None:
        """The process has closed its end, or is dead: make sure that it ends."""
        if self._is_read_to_the_end:
            return
        self._is_read_to_the_end = True
        self._stop_watching()
        self._process.kill()
        self._reap()

    def _reap(self) -> None:
        if self._process.poll() is None:
            self._reaping = self._loop.call_later(REAP_SECONDS, self._guarded, self._reap)
            return
        self._has_ended = True
        self._listener.ended(self)
        self._close_files()

    def _sent(self, data: memoryview) -> memoryview:
        """Send as much as the socket takes at once; returns the rest."""
        try:
            return data[self._socket.send(data) :]
        except (BlockingIOError, InterruptedError):
            return data
        except OSError:
            return data[:0]  # It is dying; the reading side notices that.

    def _on_writable(self) -> None:
        while self._unsent:
            left = self._sent(self._unsent[0])
            if left:
                self._unsent[0] = left
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._socket)
        if self.is_closing:
            self._shut_down()

    def _shut_down(self) -> None:
        with suppress(OSError):  # It is gone already.
            self._socket.shutdown(socket.SHUT_WR)

    def _stop_watching(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._unsent.clear()

    def _close_files(self) -> None:
        self._socket.close()
        self._lifeline.close()
        self._marker.close()

    def abandon(self) -> None:
        """Kill it and forget it, without waiting for its end."""
        if not self._has_ended:
            self.kill()
            self._stop_watching()
            if self._reaping is not None:
                self._reaping.cancel()
            self._process.poll()
            self._has_ended = True
            self._close_files()


def _started(*fds: int) -> subprocess.Popen[bytes]:
    with _signals_held_back():
        return subprocess.Popen(_command(*fds), pass_fds=fds, stdin=subprocess.DEVNULL)


def _command(socket_fd: int, lifeline_fd: int, marker_fd: int) -> list[str]:
    """This interpreter with the options that it was started with, as multiprocessing finds them."""
    command = spawn.get_command_line()
    if sys.platform == "win32" or "-c" not in command:
        raise ConfigurationError("worker processes need a POSIX system and an interpreter: use ExecutionMode.THREAD")
    root = str(Path(__file__).parents[4])
    program = _PROGRAM.format(root=root, socket=socket_fd, lifeline=lifeline_fd, marker=marker_fd)
    return [*command[: command.index("-c")], "-c", program]


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Signals are blocked in a process that starts inside this block, until it has installed its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
