"""The HTTP server under status page, metrics and health: its answers, and why it cannot listen."""

from __future__ import annotations

import errno
import http.client
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.observability.http.http_endpoint import HttpEndpoint, json_route

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LONGEST_ANSWER_SECONDS = 30.0


def cached(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60")])
    return [b"hello"]


def broken(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise ValueError("secret of the program")


ROUTES: dict[str, WSGIApplication] = {
    "/": cached,
    "/broken": broken,
    "/ok.json": json_route(lambda: (HTTPStatus.OK, {"is": "ok"})),
    "/ill.json": json_route(lambda: (HTTPStatus.SERVICE_UNAVAILABLE, ["ill"])),
}


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    served = HttpEndpoint("127.0.0.1", 0, ROUTES)
    served.start()
    yield served
    served.close().result(LONGEST_ANSWER_SECONDS)


def asked(endpoint: HttpEndpoint, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*endpoint.address, timeout=LONGEST_ANSWER_SECONDS)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_a_path_is_answered_by_its_application_which_decides_on_caching(endpoint: HttpEndpoint) -> None:
    status, headers, body = asked(endpoint, "/?page=1")
    assert (status, body, headers["cache-control"]) == (200, b"hello", "max-age=60")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("path", "status", "document"), [("/ok.json", 200, {"is": "ok"}), ("/ill.json", 503, ["ill"])])
def test_json_is_answered_with_its_status_and_never_cached(
    endpoint: HttpEndpoint, path: str, status: int, document: Any
) -> None:
    found, headers, body = asked(endpoint, path)
    assert (found, json.loads(body)) == (status, document)
    assert (headers["content-type"], headers["cache-control"]) == ("application/json; charset=utf-8", "no-store")
    found, headers, body = asked(endpoint, path, "HEAD")
    assert (found, body) == (status, b"")


def test_what_there_is_not_is_answered_with_what_there_is(endpoint: HttpEndpoint) -> None:
    status, headers, body = asked(endpoint, "/metrix")
    assert (status, body.decode().split()) == (404, sorted(ROUTES))
    assert headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_for_reading(endpoint: HttpEndpoint, method: str) -> None:
    status, headers, _ = asked(endpoint, "/", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_an_application_that_fails_shows_nothing_of_why_to_the_outside(
    endpoint: HttpEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    status, _, body = asked(endpoint, "/broken")
    assert status == 500
    assert b"secret" not in body
    assert "secret of the program" in caplog.text
    assert asked(endpoint, "/")[0] == 200


def test_when_it_is_closed_the_port_is_free() -> None:
    first = HttpEndpoint("127.0.0.1", 0, ROUTES)
    first.start()
    assert asked(first, "/")[0] == 200
    first.close().result(LONGEST_ANSWER_SECONDS)
    second = HttpEndpoint(*first.address, ROUTES)
    second.start()
    assert second.address == first.address
    second.close().result(LONGEST_ANSWER_SECONDS)


def test_a_name_with_addresses_of_both_kinds_is_the_older_one() -> None:
    served = HttpEndpoint("localhost", 0, ROUTES)
    served.start()
    assert served.address[0] == "127.0.0.1"
    served.close().result(LONGEST_ANSWER_SECONDS)


def test_a_host_that_is_none_is_named_with_its_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"metrics\.host 'no such host' \(METRICS_HOST\) is no address"):
        HttpEndpoint("no such host", 9091, ROUTES)


def refusing(number: int) -> Callable[..., None]:
    def bind(*_: object) -> None:
        raise OSError(number, "it says why")

    return bind


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EADDRINUSE, r"metrics\.port 9091 \(METRICS_PORT\) on 127\.0\.0\.1 is taken: choose another one"),
        (errno.EACCES, r"metrics\.port 9091 \(METRICS_PORT\) on 127\.0\.0\.1 needs privileges"),
        (errno.EADDRNOTAVAIL, r"metrics\.host '127\.0\.0\.1' and metrics\.port 9091 .*: it says why"),
    ],
)
def test_an_address_that_cannot_be_had_is_named_with_its_settings(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    class Refusing(socket.socket):
        bind = refusing(number)

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(ConfigurationError, match=said):
        HttpEndpoint("127.0.0.1", 9091, ROUTES)


def test_a_server_that_something_else_has_just_woken_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    served = HttpEndpoint("127.0.0.1", 0, ROUTES)
    trigger = served._server.trigger  # noqa: SLF001 -- the race is inside of it
    pull = trigger._physical_pull  # noqa: SLF001 -- as above

    def pull_late() -> None:
        pull()  # as an answer that ends does
        wait([served.closed], timeout=0.1)
        pull()

    monkeypatch.setattr(trigger, "_physical_pull", pull_late)
    served.start()
    served.close().result(LONGEST_ANSWER_SECONDS)
