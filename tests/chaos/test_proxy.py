"""The proxy forwards, delays, cuts and holds data. Needs no broker."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxies
from tests.kafka.deadline import wait_until
from tests.kafka_node import free_port

PATIENCE_SECONDS = 60.0


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it is sent, in upper case."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=[connection], daemon=True).start()

        def echo(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data.upper())

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def proxied(echo_port: int) -> Iterator[tuple[Proxies, int]]:
    port = free_port()
    with Proxies() as proxies:
        proxies.add("link", port, echo_port)
        yield proxies, port


def connected(port: int, seconds: float = PATIENCE_SECONDS) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=seconds)


def is_ended(client: socket.socket) -> bool:
    try:
        client.sendall(b"x")
        return client.recv(1) == b""
    except OSError:
        return True


def is_refused(port: int) -> bool:
    with connected(port) as client:
        return is_ended(client)


def test_it_carries_both_ways(proxied: tuple[Proxies, int]) -> None:
    _, port = proxied
    with connected(port) as client:
        client.sendall(b"hello")

        assert client.recv(5) == b"HELLO"


def test_it_delays_each_way(proxied: tuple[Proxies, int]) -> None:
    proxies, port = proxied
    with connected(port) as client:
        proxies.delay("link", 0.1)
        begun = time.monotonic()
        client.sendall(b"hello")

        assert client.recv(5) == b"HELLO"
        assert time.monotonic() - begun >= 0.2


def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_healed(proxied: tuple[Proxies, int]) -> None:
    proxies, port = proxied
    with connected(port) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"A"
        proxies.cut("link")
        assert is_ended(client)
    assert is_refused(port)

    proxies.heal("link")

    with connected(port) as client:
        client.sendall(b"b")
        assert client.recv(1) == b"B"


def test_what_a_half_open_connection_was_given_arrives_when_it_is_healed(proxied: tuple[Proxies, int]) -> None:
    proxies, port = proxied
    with connected(port) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"A"
        proxies.half_open("link")
        client.sendall(b"b")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)

        proxies.heal("link")

        client.settimeout(PATIENCE_SECONDS)
        assert client.recv(1) == b"B"


def test_a_target_that_is_away_ends_the_connection(proxied: tuple[Proxies, int]) -> None:
    proxies, _ = proxied
    port = free_port()
    proxies.add("nowhere", port, free_port())

    wait_until(lambda: is_refused(port), "the connection is ended")
