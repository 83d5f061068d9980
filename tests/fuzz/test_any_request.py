"""Requests of any bytes: the endpoint answers or hangs up, reveals no secret, and goes on serving."""

from __future__ import annotations

import errno
import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyrallel_consumer.observability.http.http_endpoint import HttpEndpoint
from pyrallel_consumer.observability.http.routes import made_routes

PATIENCE_SECONDS = 20.0
FINE = {
    HTTPStatus.OK,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.NOT_MODIFIED,
}
PATHS = ["/", "/metrics", "/livez", "/readyz", "/snapshot.json", "/status", "/history.json", "//", "/..", "/%00"]
line_bytes = st.binary(max_size=60).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b""))
methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b""])
paths = st.one_of(st.sampled_from(PATHS).map(str.encode), line_bytes.map(lambda data: b"/" + data), line_bytes)
extra = st.lists(st.tuples(line_bytes, line_bytes), max_size=4)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[HttpEndpoint]:
    """The routes of a process without a consumer; requests are parsed in the same way."""
    served = HttpEndpoint("127.0.0.1", 0, made_routes(lambda: ()))
    served.start()
    yield served
    served.close().result(PATIENCE_SECONDS)


def answered(endpoint: HttpEndpoint, request: bytes) -> bytes:
    """The complete answer to these bytes; the client sends nothing more after them."""
    answer = bytearray()
    # It hangs up on what is too long before it has read all of it.
    with socket.create_connection(endpoint.address, timeout=PATIENCE_SECONDS) as client, suppress(ConnectionError):
        client.sendall(request)
        _say_no_more(client)
        while data := client.recv(65_536):
            answer += data
    return bytes(answer)


def _say_no_more(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:  # It has hung up already; this error is no ConnectionError.
            raise


def assert_fine(endpoint: HttpEndpoint, answer: bytes) -> None:
    if answer:
        version, code, *_ = answer.split(b" ", 2)
        assert version in {b"HTTP/1.0", b"HTTP/1.1"}
        assert int(code) in FINE, answer
    assert b"Traceback" not in answer
    assert answered(endpoint, b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 ")


fuzzed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


@fuzzed
@given(request=st.binary(max_size=300))
@example(request=b"GET / HTTP/9.9\r\n\r\n")
@example(request=b"\r\n\r\n")
def test_bytes_that_are_no_request(endpoint: HttpEndpoint, request: bytes) -> None:
    assert_fine(endpoint, answered(endpoint, request))


requests = st.fixed_dictionaries(
    {"method": methods, "path": paths, "host": line_bytes, "headers": extra, "body": st.binary(max_size=50)}
)


def asked(path: bytes, *headers: tuple[bytes, bytes], method: bytes = b"GET", body: bytes = b"") -> dict[str, Any]:
    return {"method": method, "path": path, "host": b"localhost", "headers": list(headers), "body": body}


@fuzzed
@given(given=requests)
@example(given=asked(b"/metrics?" + b"a" * 9_000))
@example(given=asked(b"/metrics", (b"X", b"a" * 300_000)))
@example(given=asked(b"/metrics?name[]=\xff", (b"Accept-Encoding", b"gzip;q=\xff")))
@example(given=asked(b"/metrics", (b"Accept", b"application/openmetrics-text;q=x")))
@example(given=asked(b"/", (b"Transfer-Encoding", b"chunked"), method=b"POST", body=b"zz\r\n"))
@example(given=asked(b"/", (b"Content-Length", b"-1")))
@example(given=asked(b"/", (b"Content-Length", b"9" * 40)))
def test_requests_with_any_method_path_host_headers_and_body(endpoint: HttpEndpoint, given: dict[str, Any]) -> None:
    lines = [given["method"] + b" " + given["path"] + b" HTTP/1.1", b"Host: " + given["host"], b"Connection: close"]
    headers = [name + b": " + value for name, value in given["headers"]]

    assert_fine(endpoint, answered(endpoint, b"\r\n".join([*lines, *headers, b"", given["body"]])))


@fuzzed
@given(query=st.text(max_size=30))
def test_queries_of_any_text_are_answered_as_if_there_were_none(endpoint: HttpEndpoint, query: str) -> None:
    connection = http.client.HTTPConnection(*endpoint.address, timeout=PATIENCE_SECONDS)
    try:
        for path in ("/livez", "/snapshot.json", "/metrics"):
            connection.request("GET", f"{path}?{query.encode('utf-8', 'replace').hex()}&name[]={len(query)}")
            answer = connection.getresponse()
            answer.read()
            assert answer.status in FINE
    finally:
        connection.close()
