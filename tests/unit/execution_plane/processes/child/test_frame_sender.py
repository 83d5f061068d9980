"""Frames of a worker process, sent from threads and from handlers that interrupt them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from pyrallel_consumer.execution_plane.processes.child.frame_sender import FrameSender
from pyrallel_consumer.execution_plane.processes.frames import FrameReader

PATIENCE_SECONDS = 30.0


class Connection:
    """Takes bytes in two halves; ``between`` is called between the halves of the first frame, like an interruption."""

    def __init__(self) -> None:
        self.taken = b""
        self.between: Callable[[], None] | None = None
        self.error: OSError | None = None

    def send(self, data: memoryview) -> int:
        if self.error is not None:
            raise self.error
        half = (len(data) + 1) // 2
        self.taken += data[:half]
        between, self.between = self.between, None
        if between is not None:
            between()
        return half

    def fileno(self) -> int:
        raise AssertionError("nothing has to wait")

    def frames(self) -> list[tuple[int, bytes]]:
        return list(FrameReader().feed(self.taken))


def in_time(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "it waits for itself"


def test_what_logs_while_its_own_thread_sends_is_sent_behind() -> None:
    connection = Connection()
    sender = FrameSender(connection)

    def interrupt() -> None:
        connection.between = lambda: sender.send(3, b"inner")
        sender.send(2, b"middle")

    connection.between = interrupt
    in_time(lambda: sender.send(1, b"outer"))
    sender.send(4, b"later")

    assert connection.frames() == [(1, b"outer"), (2, b"middle"), (3, b"inner"), (4, b"later")]


def test_another_thread_waits_until_its_frame_is_taken() -> None:
    connection = Connection()
    sender = FrameSender(connection)
    other = threading.Thread(target=lambda: sender.send(2, b"other"), daemon=True)
    connection.between = other.start
    in_time(lambda: sender.send(1, b"first"))
    other.join(PATIENCE_SECONDS)

    assert connection.frames() == [(1, b"first"), (2, b"other")]


def test_a_connection_that_ended_is_told_each_time() -> None:
    connection = Connection()
    sender = FrameSender(connection)
    connection.error = BrokenPipeError()
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            sender.send(1)


def test_a_frame_that_does_not_fit_a_socket_of_uvloop_waits_for_its_reader() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        body = b"x" * 5_000_000
        sending = threading.Thread(target=FrameSender(ours).send, args=(1, body), daemon=True)
        sending.start()
        reader = FrameReader()
        found: list[tuple[int, bytes]] = []
        while not found:
            found += reader.feed(theirs.recv(1 << 16))
        sending.join(PATIENCE_SECONDS)

    assert found == [(1, body)]
