"""Any part of what operators see can fail: the failure is counted and logged once, and consuming goes on."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from pyrallel_consumer.control_plane.policies import RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import RuntimeSnapshot, WorkItem
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.ingress.client.client_events import ClientEvents
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.log import Log
from pyrallel_consumer.observability.ailments import SignsOfLife, ailments
from pyrallel_consumer.observability.http.health import liveness, readiness
from pyrallel_consumer.observability.http.watched import Watched
from pyrallel_consumer.observability.metrics.metrics import metrics_application
from pyrallel_consumer.observability.pictures import Pictures
from pyrallel_consumer.observability.published import PUBLISH_SECONDS, Published
from pyrallel_consumer.observability.watch.blocking_watch import BlockingWatch
from tests.unit.control_plane.pictures import LIMITS, WELL, picture
from tests.unit.silent_pump import Silent, silent_pump


def bug(*_: object) -> Any:
    raise KeyError("a bug in a picture")


async def ignore(_: WorkItem) -> None: ...


async def test_a_picture_that_fails_at_every_tick_ends_nothing_and_the_others_are_drawn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures: list[BaseException] = []
    ticks: asyncio.Queue[float] = asyncio.Queue()
    engine = AsyncEngine(ignore, RetryPolicy(), 10)
    control = await silent_pump(WorkManager(WorkPolicy()), engine, failures)
    control.pictures.add(bug)
    control.pictures.add(ticks.put_nowait)
    control.start(Silent())
    async with asyncio.timeout(30):
        for _ in range(3):
            await ticks.get()
    assert (failures, control.is_broken) == ([], False)
    assert control.pictures.failures >= 3
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "bug failed with KeyError" in record.getMessage()
    control.stop()
    await engine.stop(1.0)


async def test_a_duty_that_fails_ends_the_consumer() -> None:
    failures: list[BaseException] = []
    engine = AsyncEngine(ignore, RetryPolicy(), 10)
    control = await silent_pump(WorkManager(WorkPolicy()), engine, failures)
    control.on_tick.append(bug)
    control.start(Silent())
    assert control.is_broken
    assert [type(error) for error in failures] == [KeyError]
    await engine.stop(1.0)


def test_each_kind_of_error_of_each_picture_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    pictures = Pictures()
    for error in (KeyError("a"), KeyError("b"), ValueError("c")):
        pictures.note("the curves", error)
        pictures.note("the table", error)
    assert pictures.failures == 6
    assert sorted(record.getMessage().split(":")[0] for record in caplog.records) == [
        "the curves failed with KeyError",
        "the curves failed with ValueError",
        "the table failed with KeyError",
        "the table failed with ValueError",
    ]


def test_a_logging_set_up_that_raises_costs_no_more_than_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pyrallel_consumer.observability"), "error", bug)
    pictures = Pictures()
    pictures.note("the curves", KeyError("a"))
    assert pictures.failures == 1


class Snapshots:
    """Snapshots that can be taken until a switch makes them fail."""

    def __init__(self) -> None:
        self.can_be_taken = True
        self.asked = 0

    def take(self, state: str) -> RuntimeSnapshot:
        self.asked += 1
        if not self.can_be_taken:
            bug()
        return picture(state=state)


def test_a_snapshot_that_cannot_be_taken_leaves_the_last_one_with_the_state_that_is_true_now() -> None:
    snapshots, pictures = Snapshots(), Pictures()
    published = Published(snapshots.take, BlockingWatch(5.0), pictures)
    published.become("running")
    snapshots.can_be_taken = False
    published.become("stopping")
    assert published.latest is not None
    assert (published.latest.state, published.latest.processed) == ("stopping", picture().processed)
    assert published.latest.picture_failures == pictures.failures == 1
    snapshots.can_be_taken = True
    published.tick(100.0)
    assert published.latest == picture(state="stopping")


def test_a_snapshot_that_never_could_be_taken_is_not_there_and_is_not_tried_at_every_tick() -> None:
    snapshots, pictures = Snapshots(), Pictures()
    snapshots.can_be_taken = False
    published = Published(snapshots.take, BlockingWatch(5.0), pictures)
    published.become("starting")
    for ticks in range(20):
        published.tick(ticks * PUBLISH_SECONDS / 10)
    assert published.latest is None
    assert snapshots.asked == 1 + 2


@pytest.mark.parametrize(("took", "fewest", "most"), [(0.001, 20, 21), (0.01, 9, 11), (0.5, 4, 6)])
def test_snapshots_that_take_long_are_taken_less_often_and_never_too_seldom(
    took: float, fewest: int, most: int
) -> None:
    cpu_times = itertools.accumulate(itertools.repeat(took))
    snapshots = Snapshots()
    published = Published(snapshots.take, BlockingWatch(5.0), Pictures(), clock=lambda: next(cpu_times))
    for tick in range(100):
        published.tick(tick * 0.05)
    assert fewest <= snapshots.asked <= most


def watched(group: str, noted: list[str], **changes: Any) -> Watched:
    sound: dict[str, Any] = {
        "metrics": lambda: {"consumer_in_flight_count": 7},
        "picture": picture,
        "signs_of_life": lambda: WELL,
        "moments": tuple,
        "look": lambda: None,
    }
    return Watched(group=group, limits=LIMITS, note_failure=lambda name, _: noted.append(name), **(sound | changes))


def test_the_endpoint_shows_the_other_consumers_where_one_cannot_be_shown() -> None:
    noted: list[str] = []
    consumers = [watched("broken", noted, metrics=bug), watched("sound", noted)]
    sent: list[str] = []
    page = b"".join(
        metrics_application(lambda: consumers)({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, sent_to(sent))
    )
    assert b"\nconsumer_in_flight_count 7.0\n" in page
    assert (sent, noted) == (["200 OK"], ["/metrics"])


def sent_to(sent: list[str]) -> Any:
    return lambda status, *_: sent.append(status)


@pytest.mark.parametrize("broken", ["picture", "signs_of_life"])
def test_a_health_check_that_fails_restarts_nobody_and_calls_for_a_look(broken: str) -> None:
    noted: list[str] = []
    consumers = [watched("shop", noted, **{broken: bug})]
    status, document = liveness(lambda: consumers)
    assert (status, document["status"]) == (HTTPStatus.OK, "ok")
    status, document = readiness(lambda: consumers)
    assert (status, document["status"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    [one] = document["consumers"]
    assert [reason["reason"] for reason in one["reasons"]] == ["unexamined"]
    assert len(noted) == 2
    assert json.dumps(document)


def test_a_picture_that_is_old_though_the_loop_turns_is_a_reason_not_to_be_ready() -> None:
    def reasons(signs: SignsOfLife) -> list[str]:
        return [each.reason for each in ailments(picture(), signs, LIMITS)]

    assert reasons(replace(WELL, picture_age_seconds=30.1)) == ["picture_old"]
    assert reasons(replace(WELL, picture_age_seconds=30.0)) == []
    assert reasons(replace(WELL, picture_age_seconds=31.0, loop_age_seconds=31.0)) == ["loop_blocked"]


@pytest.mark.parametrize("name", ["error_cb", "stats_cb", "throttle_cb", "on_commit", "logger"])
def test_what_the_users_callbacks_raise_comes_out_of_no_poll(name: str) -> None:
    seen: list[object] = []

    def users(*arguments: object) -> None:
        seen.append(arguments)
        bug()

    given: object = SimpleNamespace(log=users) if name == "logger" else users
    events = ClientEvents(lambda: 0.0, LogThrottle(Log("test"), lambda: 0.0), bug)
    installed = events.installed_in({name: given, "statistics.interval.ms": 1}, lambda *_: None)[name]
    call: Callable[..., object] = installed.log if name == "logger" else installed
    arguments: dict[str, list[object]] = {"error_cb": [KafkaError(-195)], "stats_cb": ["{}"]}
    call(*arguments.get(name, [None, "more"]))
    assert len(seen) == 1
