"""One listening socket of the process, served by its own threads: it answers even while every event loop is blocked.

Knows paths and their applications, and nothing about consumers. Waitress serves; this module is imported only
if an endpoint is wanted.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from waitress.server import create_server
from waitress.wasyncore import close_all

from pyrallel_consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

THREADS: Final = 4
"""How many requests are answered at once: a slow scrape does not delay a health check."""
MOST_CONNECTIONS: Final = 100
IDLE_CONNECTION_SECONDS: Final = 60
MOST_BODY_BYTES: Final = 1024
_ALWAYS: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class HttpEndpoint:
    """Serves ``routes`` (path -> WSGI application) at ``address`` from ``start`` to ``close``.

    The constructor binds the socket. Raises ConfigurationError, naming the setting, if that fails.
    """

    def __init__(self, host: str, port: int, routes: Mapping[str, WSGIApplication]) -> None:
        listening = _bound_socket(host, port)
        self.address: tuple[str, int] = listening.getsockname()[:2]
        self.closed: Future[None] = Future()
        self._sockets: dict[int, Any] = {}
        self._server: Any = create_server(
            dispatching(routes),
            map=self._sockets,
            sockets=[listening],
            threads=THREADS,
            ident="pyrallel-consumer",
            connection_limit=MOST_CONNECTIONS,
            channel_timeout=IDLE_CONNECTION_SECONDS,
            max_request_body_size=MOST_BODY_BYTES,
            asyncore_use_poll=True,  # `select` knows no file descriptor above 1023, and a consumer has many
        )
        self._thread = threading.Thread(target=self._serve, name="pyrallel-http", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> Future[None]:
        """Listen no more; the future is done when the port is free again."""
        is_pulled = threading.Event()

        def close_sockets() -> None:
            # Another event may have woken the server before the trigger was pulled.
            is_pulled.wait()
            close_all(self._sockets)

        try:
            self._server.trigger.pull_trigger(close_sockets)
        finally:
            is_pulled.set()
        return self.closed

    def _serve(self) -> None:
        try:
            self._server.run()
        finally:
            self.closed.set_result(None)
            self._server.task_dispatcher.shutdown()


def dispatching(routes: Mapping[str, WSGIApplication]) -> WSGIApplication:
    """One application out of many: by path, for reading only. An unknown path gets the list of known ones."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _text(start_response, HTTPStatus.METHOD_NOT_ALLOWED, "this endpoint is for reading\n", "GET, HEAD")
        found = routes.get(environ.get("PATH_INFO", "") or "/")
        if found is None:
            return _text(start_response, HTTPStatus.NOT_FOUND, "".join(f"{path}\n" for path in sorted(routes)))

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            named = {name.lower() for name, _ in headers}
            return start_response(status, [*headers, *((n, v) for n, v in _ALWAYS if n.lower() not in named)], *more)

        return found(environ, start)

    return application


def json_route(answer: Callable[[], tuple[HTTPStatus, object]]) -> WSGIApplication:
    """An application that answers with the result of ``answer``, as JSON."""

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, document = answer()
        body = json.dumps(document, indent=1).encode() + b"\n"
        headers = [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    return application


def _text(start_response: StartResponse, status: HTTPStatus, text: str, allow: str | None = None) -> list[bytes]:
    body = text.encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *_ALWAYS]
    start_response(f"{status.value} {status.phrase}", headers + ([("Allow", allow)] if allow else []))
    return [body]


def _bound_socket(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"metrics.host {host!r} (METRICS_HOST) is no address: {error}") from error
    # "localhost" is two addresses, and most clients try the IPv4 one first, or only that one.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] is not socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise ConfigurationError(_cannot_bind(host, port, error)) from error
    return listening


def _cannot_bind(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"metrics.port {port} (METRICS_PORT) on {host} is taken: choose another one, or 0 for any that is "
                "free; consumers of one process share a port automatically if they name the same metrics.host"
            )
        case errno.EACCES:
            return f"metrics.port {port} (METRICS_PORT) on {host} needs privileges: choose one from 1024 on"
        case _:
            return f"metrics.host {host!r} and metrics.port {port} (METRICS_HOST, METRICS_PORT): {error.strerror}"
