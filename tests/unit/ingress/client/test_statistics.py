"""The client's statistics: the values that are read, and the user's own callback for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyrallel_consumer.ingress.client.client_events import ClientEvents
from pyrallel_consumer.ingress.client.known_brokers import REPORT_MS
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.log import Log

UP = {"state": "UP", "source": "learned", "rxidle": 40_000, "waitresp_cnt": 1}
DOWN = {"state": "INIT", "source": "configured", "rxidle": -1, "waitresp_cnt": 0}
COORDINATOR = {"state": "UP", "source": "logical", "rxidle": 60_000_000, "waitresp_cnt": 1}


def report(*brokers: dict[str, Any], join_state: str = "steady") -> str:
    named = {f"broker-{at}": broker for at, broker in enumerate(brokers)}
    topics = {"orders": {"partitions": {"0": {"partition": 0}}}}
    return json.dumps({"name": "c", "brokers": named, "topics": topics, "cgrp": {"join_state": join_state}, "rx": 1})


class Client:
    """A client that sends reports, and what was read from them."""

    def __init__(self, **configuration: Any) -> None:
        self.now = 100.0
        self.events = ClientEvents(self._clock, LogThrottle(Log("test"), self._clock), self._fail)
        self.installed = self.events.installed_in(configuration, lambda *_: None)

    def _clock(self) -> float:
        return self.now

    def _fail(self, error: object) -> None:
        raise AssertionError(error)

    def reports(self, text: str, seconds: float = REPORT_MS / 1000) -> bool:
        """Returns whether a broker answers, as far as is known at that time."""
        self.now += seconds
        self.installed["stats_cb"](text)
        return self.events.statistics.silence.is_connected


def test_an_outage_and_its_end_are_seen_and_told_once_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "pyrallel_consumer")
    client = Client()
    assert client.reports(report(UP, COORDINATOR))
    while client.reports(report(DOWN)):
        assert client.now < 115.0 + REPORT_MS / 1000, "an outage is to be noticed within 15 s"
    client.reports(report(DOWN))
    assert client.reports(report(UP))
    outage, end = (record.getMessage() for record in caplog.records)
    assert outage.startswith("no broker has answered for 1")
    assert end == "a broker answers again: consuming goes on"


def test_while_a_group_waits_for_a_member_its_coordinator_is_not_silent() -> None:
    assert Client().reports(report(COORDINATOR, join_state="wait-join"), seconds=60.0)
    assert not Client().reports(report(COORDINATOR, join_state="steady"), seconds=60.0)


@pytest.mark.parametrize("text", ["", "{}", "no JSON", '{"brokers":{"b":{}},"cgrp":{}}'])
def test_a_report_that_is_not_understood_ends_nothing(text: str) -> None:
    assert Client().reports(text)


def test_the_client_reports_often_enough_and_the_users_callback_is_called_as_often_as_the_user_wants() -> None:
    seen: list[str] = []
    client = Client(**{"stats_cb": seen.append, "statistics.interval.ms": "10000"})
    assert client.installed["statistics.interval.ms"] == REPORT_MS
    for _ in range(16):
        client.reports(report(UP))
    assert len(seen) == 4


@pytest.mark.parametrize(("given", "expected"), [(1000, 1000), (0, REPORT_MS), ("soon", "soon")])
def test_a_shorter_interval_of_the_users_holds_and_nonsense_is_left_to_the_client(given: Any, expected: Any) -> None:
    seen: list[str] = []
    client = Client(**{"stats_cb": seen.append, "statistics.interval.ms": given})
    assert client.installed["statistics.interval.ms"] == expected
    client.reports(report(UP), seconds=1.0)
    assert len(seen) == (given == 1000)
