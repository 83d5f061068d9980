"""The endpoints of this process, by host and port: consumers that ask for the same one share it.

The first one opens it, the last one closes it. Consumers may live on different event loops, so a lock guards the table.
The only wait under the lock is for the end of a server that is being closed, which takes a moment.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.observability.http.watched import Watched

if TYPE_CHECKING:
    from pyrallel_consumer.observability.http.http_endpoint import HttpEndpoint

CLOSE_SECONDS: Final = 2.0

_lock = threading.Lock()
_shared: dict[tuple[str, int], _Shared] = {}
_closing: dict[tuple[str, int], Future[None]] = {}


class _Shared:
    """One endpoint and its consumers. The tuple is only replaced, so a request sees the old or the new one."""

    def __init__(self) -> None:
        self.members: tuple[Watched, ...] = ()
        self.endpoint: HttpEndpoint | None = None


class Seat:
    """One consumer's part of an endpoint, until ``leave``.

    With port 0 the consumer has its own endpoint. Raises ConfigurationError if the address is not available.
    """

    def __init__(self, host: str, port: int, watched: Watched) -> None:
        self._place = host, port
        self._watched = watched
        self._has_left = False
        with _lock:
            shared = _shared.get(self._place) if port else None
            self._shared = shared or _opened(host, port)
            self._shared.members = (*self._shared.members, watched)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the socket."""
        endpoint = self._shared.endpoint
        assert endpoint is not None
        return endpoint.address

    def leave(self) -> Future[None]:
        """Remove this consumer. If no consumer is left, the future is done when the port is free."""
        shared = self._shared
        with _lock:
            shared.members = tuple(each for each in shared.members if each is not self._watched)
            if shared.members or self._has_left or shared.endpoint is None:
                done: Future[None] = Future()
                done.set_result(None)
                return done
            self._has_left = True
            _shared.pop(self._place, None)
            _closing[self._place] = closed = shared.endpoint.close()
            return closed


def _opened(host: str, port: int) -> _Shared:
    # Imported only if an endpoint is wanted, because the import is expensive.
    from pyrallel_consumer.observability.http.http_endpoint import HttpEndpoint  # noqa: PLC0415
    from pyrallel_consumer.observability.http.routes import made_routes  # noqa: PLC0415

    leaving = _closing.pop((host, port), None)
    if leaving is not None:
        with suppress(TimeoutError):
            leaving.result(CLOSE_SECONDS)
    shared = _Shared()
    shared.endpoint = HttpEndpoint(host, port, made_routes(lambda: shared.members))
    shared.endpoint.start()
    if port:
        _shared[host, port] = shared
    return shared
