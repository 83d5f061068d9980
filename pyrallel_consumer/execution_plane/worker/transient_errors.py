"""Whether an error of a deserializer is about the message, or about a service or file that the deserializer needs.

If a schema registry does not answer, a token is not available, or a file cannot be read, another attempt may succeed,
and the message is not at fault. These errors are recognised without importing any client: by the operating system's
errors, the packages of HTTP clients, and HTTP status codes.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from pyrallel_consumer.foreign_errors import attribute, cause_or_context_of, is_a

_HTTP_CLIENTS: Final = frozenset(
    {"aiohttp", "authlib", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"}
)
_STATUS_NAMES: Final = ("http_status_code", "status_code", "status")
_NO_ACCESS: Final = "OAuthTokenError"
"""confluent-kafka's error if a registry requires a token and none is available."""
_MOST_CAUSES: Final = 8

_TRANSIENT_STATUSES: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PAYMENT_REQUIRED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""The server refuses the client, or asks it to wait. 404 and 422 are about the message's schema instead."""


def is_transient(error: BaseException) -> bool:
    """Whether ``error``, or its cause, may be gone with another attempt. The status of a server's answer decides."""
    chain = _chain(error)
    for each in chain:
        status = _status_of(each)
        if status is not None:
            return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT_STATUSES
    return any(
        is_a(each, OSError, MemoryError) or type(each).__name__ == _NO_ACCESS or _is_of_http_client(each)
        for each in chain
    )


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and len(chain) < _MOST_CAUSES:
        chain.append(found)
        found = cause_or_context_of(found)
    return chain


def _status_of(error: BaseException) -> int | None:
    for name in _STATUS_NAMES:
        status = attribute(error, name)
        if type(status) is int and HTTPStatus.BAD_REQUEST <= status <= 599:  # noqa: PLR2004 -- the last of HTTP's codes
            return status
    return None


def _is_of_http_client(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] in _HTTP_CLIENTS for kind in type(error).__mro__)
