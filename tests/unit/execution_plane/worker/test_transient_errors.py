"""Which errors of a deserializer are the message's fault, and which may be gone at another attempt."""

from __future__ import annotations

import json
import socket
import urllib.error
from email.message import Message

import pytest
from confluent_kafka.serialization import SerializationError

from pyrallel_consumer.execution_plane.worker.transient_errors import is_transient

# Clients that not every environment of these tests has.
aiohttp, httpx2 = pytest.importorskip("aiohttp"), pytest.importorskip("httpx2")
registry_errors = pytest.importorskip("confluent_kafka.schema_registry.error")


def answer(status: int) -> Exception:
    error: Exception = registry_errors.SchemaRegistryError(status, -1, "the registry said so")
    return error


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        socket.gaierror(),
        TimeoutError(),
        FileNotFoundError("schema.avsc"),
        MemoryError(),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("late"),
        httpx2.RemoteProtocolError("the server disconnected"),
        aiohttp.ServerDisconnectedError(),
        urllib.error.URLError("no route"),
        registry_errors.OAuthTokenError("no token"),
        *map(answer, [401, 403, 408, 429, 500, 502, 503, 504, 599]),
        caused_by(SerializationError("cannot fetch"), httpx2.ConnectError("refused")),
        caused_by(ValueError("no schema"), answer(503)),
    ],
    ids=repr,
)
def test_what_the_deserializer_needs_is_missing(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        json.JSONDecodeError("bad", "{", 1),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        RecursionError(),
        SerializationError("no magic byte"),
        *map(answer, [400, 404, 422]),
        urllib.error.HTTPError("http://registry.example", 404, "no such schema", Message(), None),
        caused_by(SerializationError("unknown schema"), answer(404)),
    ],
    ids=repr,
)
def test_the_message_is_at_fault(error: Exception) -> None:
    assert not is_transient(error)


def test_an_error_that_was_being_handled_counts_as_its_cause() -> None:
    error = ValueError("no schema")
    error.__context__ = ConnectionResetError()
    assert is_transient(error)


def test_a_chain_without_an_end_is_looked_at_in_bounds() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_transient(first)
