"""The status page's files and data as they are sent: complete, from one origin, without payloads and keys."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from pyrallel_consumer.dto import BatchFigures, Durations, Sizes
from pyrallel_consumer.observability.http.watched import Watched
from pyrallel_consumer.observability.status.close_up import UnderWay, close_up_of_all, fingerprint
from pyrallel_consumer.observability.status.failure_kinds import FailureKinds
from pyrallel_consumer.observability.status.history import Moment
from pyrallel_consumer.observability.status.identity import Identity
from pyrallel_consumer.observability.status.read_times import ReadTimes
from pyrallel_consumer.observability.status.status_feed import Look
from pyrallel_consumer.observability.status.status_routes import FILES, status_routes
from pyrallel_consumer.record import Delivery, OutputFigures
from pyrallel_consumer.release import VERSION
from tests.unit.control_plane.builders import TP, keyed, manager_of, run_of
from tests.unit.control_plane.pictures import LIMITS, WELL, partition, picture

MOMENTS = (Moment(10.0, 123.456, 0.0, 5, 4, 3, 2, None, 0.0123456), Moment(11.0, 1.0, 0.0, 5, 4, 3, 2, None, None))


def watched(group: str = "shop", *, look: Look | None = None, broker_lag: int | None = None) -> Watched:
    metrics = {} if broker_lag is None else {"consumer_broker_lag": {TP: broker_lag}}
    return Watched(
        group=group,
        metrics=lambda: metrics,
        picture=lambda: picture(partition(tp=TP, committed_offset=1, fetched_offset=3)),
        signs_of_life=lambda: WELL,
        limits=LIMITS,
        moments=lambda: MOMENTS,
        look=lambda: look,
        note_failure=lambda *_: None,
    )


def a_look() -> Look:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab"), value=b"the card number"))
    close_up = close_up_of_all(list(manager), UnderWay({}, (), ()), ReadTimes(), 5.0, secret=b"secret")
    return Look(picture(partition(tp=TP, queued=2)), close_up)


def answer(path: str, query: str = "", consumers: Sequence[Watched] = ()) -> tuple[str, dict[str, str], bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    sent: list[tuple[str, dict[str, str]]] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        sent.append((status, dict(headers)))

    body = b"".join(status_routes(lambda: consumers)[path](environ, start))
    return (*sent[0], body)


def data(query: str = "", *consumers: Watched) -> dict[str, Any]:
    _, headers, body = answer("/status.json", query, consumers)
    assert headers["Content-Length"] == str(len(body))
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize("path", FILES)
def test_every_file_of_the_page_comes_with_a_policy_that_allows_its_own_origin_only(path: str) -> None:
    status, headers, body = answer(path)
    assert status == "200 OK"
    assert headers["Content-Length"] == str(len(body))
    policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}


def test_the_page_names_nothing_but_files_that_are_served() -> None:
    served = {path.removeprefix("/") for path in status_routes(tuple)} | {"metrics", "livez", "readyz"}
    texts = {path: answer(path)[2].decode() for path in FILES}
    named = set(re.findall(r'(?:href|src)="([^"#]+)"', texts["/"]))
    named |= {f"status/{name}" for text in texts.values() for name in re.findall(r'from "\./([^"]+)"', text)}
    assert named <= served
    assert {path.removeprefix("/") for path in FILES} - named == {""}
    texts_in_all = "".join(texts.values())
    elsewhere = re.findall(r"""(?:https?:)?//[\w.-]+\.\w+[^\s"']*""", texts_in_all)
    assert set(elsewhere) == {"http://www.w3.org/2000/svg"}


def test_nothing_of_a_message_but_offsets_and_fingerprints_is_in_the_data() -> None:
    _, _, body = answer("/status.json", "", [watched(look=a_look())])
    assert b"card" not in body
    document = json.loads(body)
    assert [key["fingerprint"] for key in document["keys"]] == [fingerprint(key, b"secret") for key in (b"a", b"b")]
    [window] = document["windows"]
    assert (window["base"], window["top"], window["width"], window["buckets"]) == (0, 2, 1, 2)
    assert window["counts"] == {"queued": [1, 1]}
    assert window["head"]["offset"] == 0
    assert document["partitions"][0]["queued"] == 2


def test_before_the_first_close_up_the_latest_snapshot_is_shown_without() -> None:
    document = data("", watched())
    assert (document["windows"], document["keys"]) == (None, None)
    assert [each["lag"] for each in document["partitions"]] == [2]


def test_the_causes_of_slowness_are_told_to_the_hundredth_however_long_it_has_run() -> None:
    slow = partition(starved_seconds=1234567.8912, paused_seconds=0.0, blocked_seconds=0.126)
    document = data("", replace(watched(), picture=lambda: picture(slow)))
    assert document["partitions"][0]["slow_seconds"] == {"starved": 1234567.89, "paused": 0.0, "blocked": 0.13}


def test_lag_is_the_brokers_where_it_is_known() -> None:
    assert data("", watched(broker_lag=70))["partitions"][0]["lag"] == 70
    assert data("", watched(broker_lag=0))["partitions"][0]["lag"] == 2


def test_curves_are_sent_from_where_the_page_has_them() -> None:
    assert data("", watched())["moments"] == [
        [10.0, 123.5, 0.0, 5, 4, 3, 2, None, 0.01235],
        [11.0, 1.0, 0.0, 5, 4, 3, 2, None, None],
    ]
    assert [row[0] for row in data("since=10.0", watched())["moments"]] == [11.0]
    assert len(data("since=nonsense", watched())["moments"]) == 2


def test_consumers_that_share_an_endpoint_are_chosen_by_group_and_number() -> None:
    consumers = watched("shop"), watched("bills"), watched("shop")
    assert data("", *consumers)["consumers"] == ["shop", "bills", "shop (2)"]
    assert data("", *consumers)["consumer"] == "shop"
    assert data("consumer=shop+%282%29", *consumers)["consumer"] == "shop (2)"
    assert data("consumer=gone", *consumers)["consumer"] == "shop"


def test_where_no_consumer_is_left_there_is_nothing_to_show() -> None:
    assert set(data()) == {"now", "consumers"}


def test_while_no_broker_answers_the_lag_of_each_partition_is_unknown() -> None:
    outage = replace(watched(broker_lag=9), picture=lambda: picture(partition(tp=TP), is_broker_connected=False))
    document = data("", outage)
    assert [each["lag"] for each in document["partitions"]] == [None]
    assert document["totals"]["is_broker_connected"] is False


def test_the_process_is_named_with_its_worker_and_how_long_it_runs() -> None:
    identity = Identity("handle", time.monotonic() - 60, host="node-1", pid=42)
    told = data("", replace(watched(), identity=identity))["identity"]
    assert told | {"host": "node-1", "pid": 42, "worker": "handle", "version": VERSION} == told
    assert told["up_seconds"] >= 60


def test_failures_are_told_by_type_with_the_place_of_the_latest_and_without_their_text() -> None:
    kinds = FailureKinds()
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [item] = manager.take(1)
    kinds.note_attempt(item, ValueError("the card number"), time.monotonic())
    document = data("", replace(watched(), failures=kinds))
    [told] = document["failures"]
    assert told.pop("ago_seconds") >= 0
    assert told == {"type": "ValueError", "attempts": 1, "given_up": 0, **TP._asdict(), "offset": 0}
    assert "card" not in json.dumps(document)


def test_batches_records_and_transactions_are_none_where_there_are_none() -> None:
    document = data("", watched())
    assert [document[name] for name in ("batches", "records", "transactions")] == [None, None, None]
    assert document["broker"]["is_connected"] is True
    assert document["broker"]["commit_mean_ms"] is None


def test_batches_records_and_transactions_have_their_figures() -> None:
    figures = BatchFigures(size_limit=5, sizes=Sizes((0, 4), 18), waits=Durations((4,), 0.02))
    output = OutputFigures(Delivery.EXACTLY_ONCE, written=7, transactions=2, aborts=1, rewritten=3, open_seconds=0.126)
    seen = picture(partition(), batches=figures, output=output)
    document = data("", replace(watched(), picture=lambda: seen))
    assert document["batches"] == {
        "batches": 4,
        "mean_size": 4.5,
        "size_limit": 5,
        "mean_wait_ms": 5.0,
        "searches": 0,
        "search_calls": 0,
    }
    assert document["records"] == {"delivery": "exactly_once", "written": 7, "waiting": 0, "refused": 0}
    assert document["transactions"] == {"committed": 2, "aborted": 1, "rewritten": 3, "open_seconds": 0.13}


def test_before_the_first_batch_and_without_transactions_there_is_no_average_and_no_transaction() -> None:
    seen = picture(partition(), batches=BatchFigures(), output=OutputFigures(Delivery.AT_LEAST_ONCE))
    document = data("", replace(watched(), picture=lambda: seen))
    assert document["batches"]["mean_wait_ms"] is None
    assert document["records"]["delivery"] == "at_least_once"
    assert document["transactions"] is None


def test_the_broker_has_its_errors_and_the_mean_time_of_a_commit() -> None:
    metrics = {"consumer_commit_latency_seconds": Durations((2,), 0.01), "client_errors": {"_TRANSPORT": 3}}
    seen = picture(partition(), is_broker_connected=False, broker_silent_seconds=15.26, commits=2, commit_failures=1)
    broker = data("", replace(watched(), picture=lambda: seen, metrics=lambda: metrics))["broker"]
    assert (broker["is_connected"], broker["silent_seconds"]) == (False, 15.3)
    assert (broker["commits"], broker["commit_failures"], broker["commit_mean_ms"]) == (2, 1, 5.0)
    assert broker["errors"] == {"_TRANSPORT": 3}
