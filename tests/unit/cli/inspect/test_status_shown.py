"""What ``inspect`` shows of a running consumer besides its snapshot: what the status page shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from pyrallel_consumer.cli import main
from pyrallel_consumer.cli.inspect.status_shown import key_rows, lag_of, slow_of, verdict_lines
from pyrallel_consumer.observability.http.snapshot_json import snapshot_document
from tests.unit.observability.test_snapshot import snapshot_of_a_busy_consumer

KEY = {
    "topic": "orders",
    "partition": 0,
    "offset": 17,
    "state": "running",
    "order": "key",
    "fingerprint": "3fa2c1",
    "attempt": 2,
    "running_seconds": 4.25,
    "read_seconds": 6.0,
    "behind": 12,
}
STATUS: dict[str, Any] = {
    "consumers": ["billing"],
    "verdict": {"headline": "Keeps up.", "reasons": [{"level": "look", "text": "One message failed."}]},
    "moments": [[1.0, 900.0, 9.0, 5, 5], [20.0, 100.0, 0.0, 1500, 1200], [21.0, 120.0, 1.0, 1600, 1300]],
    "partitions": [
        {
            "topic": "orders",
            "partition": 0,
            "lag": 1600,
            "slow_seconds": {"starved": 1.4, "paused": 0.0, "blocked": 12.0},
        }
    ],
    "keys": [KEY],
}


def test_the_verdict_and_the_rate_of_the_last_seconds_are_told() -> None:
    assert verdict_lines(STATUS) == [
        "Keeps up.",
        "- One message failed.",
        "rate     110.0/s finished, 0.5/s failed; lag 1,600, 1,300 to do",
    ]
    unknown = STATUS | {"moments": [[1.0, 0.0, 0.0, None, 3]]}
    assert verdict_lines(unknown)[-1] == "rate     0.0/s finished, 0.0/s failed; lag unknown, 3 to do"
    assert verdict_lines(STATUS | {"moments": []}) == ["Keeps up.", "- One message failed."]


def test_a_partition_has_its_lag_and_the_reasons_for_which_it_was_slow() -> None:
    assert (lag_of(STATUS, "orders", 0), slow_of(STATUS, "orders", 0)) == ("1,600", "1/0/12")
    assert (lag_of(STATUS, "orders", 1), slow_of(STATUS, "orders", 1)) == ("-", "-")


def test_the_slowest_keys_are_listed_by_their_fingerprints() -> None:
    assert key_rows(STATUS)[1:] == [("3fa2c1", "orders[0]", "17", "running", "2", "4.2 s", "6.0 s", "12")]
    assert key_rows(STATUS | {"keys": None}) == key_rows(STATUS | {"keys": []}) == []
    waiting = KEY | {"fingerprint": None, "attempt": None, "running_seconds": None}
    assert key_rows(STATUS | {"keys": [waiting] * 30})[10][:6] == ("-", "orders[0]", "17", "running", "-", "-")
    assert len(key_rows(STATUS | {"keys": [waiting] * 30})) == 11


@pytest.fixture
def url() -> Iterator[str]:
    """A consumer that looks closely at its keys once it was asked three times."""
    looks = [STATUS | {"keys": None}] * 2

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_status = self.path.startswith("/status.json")
            document = snapshot_document([snapshot_of_a_busy_consumer()], 12.5)
            body = (looks.pop() if looks else STATUS) if is_status else document
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_command_shows_all_of_it(url: str) -> None:
    done = CliRunner().invoke(main, ["inspect", "--url", url])
    text = " ".join(done.output.split())

    assert done.exit_code == 0, done.output
    assert "group protocol consumer Keeps up. - One message failed. rate 110.0/s finished" in text
    assert "orders[0] 1 0 3 1 0 2.0 s 1 1 0 0 - 1,600 1/0/12" in text
    assert "the slowest keys, by their fingerprints" in text
    assert "3fa2c1 orders[0] 17 running 2 4.2 s 6.0 s 12" in text

    done = CliRunner().invoke(main, ["inspect", "--url", url, "--json"])
    assert json.loads(done.stdout)["status"] == [STATUS]
