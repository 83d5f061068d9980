"""A way to the registry that can be shut: connections are refused then, as by a registry that is down.

It has threads of its own: in ``async`` mode a plain deserializer holds the loop while it asks the registry.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self


class Door:
    """Stands at ``port`` and leads to the port ``behind``; shut until ``open``, and again at the end of its block."""

    def __init__(self, behind: int, port: int) -> None:
        self.port = port
        self._behind = behind
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._sockets.append(listener)
        self._start(self._welcome, listener)

    def _start(self, act: Callable[..., None], *sockets: socket.socket) -> None:
        thread = threading.Thread(target=act, args=sockets, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _welcome(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                registry = socket.create_connection(("127.0.0.1", self._behind))
                self._sockets += [client, registry]
                self._start(_copy, client, registry)
                self._start(_copy, registry, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
