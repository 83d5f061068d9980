"""The same line of the client, logged only now and then."""

from __future__ import annotations

import logging

import pytest

from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.log import Log

LOGGER = Log("tests.log_throttle")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_logged_at_once_and_then_once_per_interval_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    throttle = LogThrottle(LOGGER, clock, interval_seconds=10.0)
    with caplog.at_level(logging.DEBUG):
        for now in (0.0, 1.0, 9.9, 10.0, 20.1):
            clock.now = now
            throttle.log(logging.WARNING, "down", f"broker down at {now}")

    assert [record.getMessage() for record in caplog.records] == [
        "broker down at 0.0",
        "broker down at 10.0 (and 2 more like it since)",
        "broker down at 20.1",
    ]


def test_keys_do_not_silence_each_other(caplog: pytest.LogCaptureFixture) -> None:
    throttle = LogThrottle(LOGGER, Clock())
    with caplog.at_level(logging.DEBUG):
        throttle.log(logging.WARNING, "down", "broker down")
        throttle.log(logging.ERROR, "refused", "commit refused", {"partition": 3})

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "broker down"),
        ("ERROR", "commit refused"),
    ]
    assert caplog.records[1].__dict__["pyrallel_partition"] == 3


def test_a_percent_sign_in_what_the_client_said_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        LogThrottle(LOGGER, Clock()).log(logging.WARNING, "x", "topic 100%s of it")

    assert caplog.records[0].getMessage() == "topic 100%s of it"
