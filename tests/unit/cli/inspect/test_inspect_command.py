"""``inspect`` on the command line, and its errors for answers that are no snapshot."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typer.testing import CliRunner

from pyrallel_consumer.cli import main
from pyrallel_consumer.cli.inspect.report import report_of_running
from pyrallel_consumer.observability.http.snapshot_json import snapshot_document
from tests.unit.observability.test_snapshot import snapshot_of_a_busy_consumer


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything printed, as one line."""
    result = CliRunner().invoke(main, ("inspect", *arguments), env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.fixture
def answering() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    """A server, and what it answers by path: status and body."""
    answers: dict[str, tuple[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}"),
        ("0.0.0.0", "http://127.0.0.1:{}"),  # noqa: S104 -- no socket is bound here
        ("::", "http://[::1]:{}"),
    ],
)
def test_without_an_address_the_endpoint_of_the_environment_is_asked(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRICS_HOST", host)
    monkeypatch.setenv("METRICS_PORT", "1")
    code, text = run()
    assert (code, f"no consumer answers at {url.format(1)}/snapshot.json" in text) == (1, True), text


def test_help_names_every_option() -> None:
    _, text = run("--help")
    options = ("--url", "--group", "--topic", "--bootstrap-servers", "--watch", "--every", "--json")
    assert [option for option in options if option not in text] == []


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--group", "g"), "--topic"),
        (("--topic", "t"), "--group"),
        (("--group", "", "--topic", "t"), "--group"),
        (("--group", "g", "--topic", " "), "--topic"),
        (("--url", "http://h:1", "--group", "g", "--topic", "t"), "--url"),
        (("--bootstrap-servers", "h:9092"), "--bootstrap-servers"),
        (("--group", "g", "--topic", "t", "--bootstrap-servers", "h:port"), "--bootstrap-servers"),
        (("--url", "ftp://h"), "--url"),
        (("--url", "http://"), "--url"),
        (("--url", "http://h:port"), "--url"),
        (("--watch", "--every", "0"), "--every"),
    ],
)
def test_a_bad_value_is_refused_with_exit_code_2_and_names_its_option(arguments: tuple[str, ...], option: str) -> None:
    code, text = run(*arguments)

    assert code == 2
    assert f"Invalid value for '{option}'" in text


def test_a_running_consumer_is_shown(answering: tuple[str, dict[str, tuple[int, bytes]]]) -> None:
    url, answers = answering
    document = snapshot_document([snapshot_of_a_busy_consumer()], 12.5)
    answers["/snapshot.json"] = 200, json.dumps(document).encode()

    code, text = run("--url", url)

    assert code == 0
    assert "group billing, topic orders" in text
    assert "1 of 7 in flight, 1 queued" in text
    assert "orders[0] 1 0 3 1 0 2.0 s 1 1 0 0 -" in text
    code, text = run("--url", url.removeprefix("http://"), "--json")
    assert (code, json.loads(text)) == (0, {"ok": True, **document})


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (404, b"", "answers 404 Not Found: is that the metrics endpoint of a consumer?"),
        (200, b"<html>", "something that is no snapshot"),
        (200, b'{"consumers": [{}]}', "something that is no snapshot"),
        (200, b"[]", "something that is no snapshot"),
    ],
)
def test_whatever_answers_without_a_snapshot_is_an_error(
    answering: tuple[str, dict[str, tuple[int, bytes]]], status: int, body: bytes, sentence: str
) -> None:
    url, answers = answering
    answers["/snapshot.json"] = status, body

    code, text = run("--url", url)

    assert code == 1
    assert sentence in text


def test_nobody_there_is_an_error_that_says_what_to_turn_on() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port

    code, text = run("--url", f"http://127.0.0.1:{port}")

    assert code == 1
    assert "METRICS_ENABLED=true" in text


def test_a_process_without_a_consumer_at_the_moment_says_so() -> None:
    [section] = report_of_running({"consumers": []}).sections

    assert section.lines == ("No consumer runs there at the moment.",)
