"""What a client's log reveals about the brokers, and which of its lines the user sees."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from confluent_kafka import KafkaError

from pyrallel_consumer.ingress.client.error_kinds import cause_of
from pyrallel_consumer.ingress.client.group_client import FeatureLog
from pyrallel_consumer.ingress.reading.group_protocol import ProtocolChoice, ProtocolTrial

TEMPLATE = "%s [%s] %s"
FEATURE = "%s: Feature BrokerBalancedConsumer: ConsumerGroupHeartbeat (0..32767) %ssupported by broker"
VERSIONS = "%s:   ApiKey ConsumerGroupHeartbeat (68) Versions 0..%d"
REFUSED = "Fatal error: Broker: The group id does not exist: ConsumerGroupHeartbeat fatal error"


class Lines:
    """The user's logger: the facilities and levels that reach it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def log(self, level: int, _template: str, facility: str, _name: str, _text: str) -> None:
        self.seen.append((facility, level))


def listening(choice: ProtocolChoice, **configuration: Any) -> tuple[dict[str, Any], ProtocolTrial, Lines]:
    lines, trial = Lines(), ProtocolTrial(choice)
    return FeatureLog.installed_in({"logger": lines, **configuration}, trial), trial, lines


AUTO = ProtocolChoice("consumer", may_change=True)


@pytest.mark.parametrize(
    ("place", "missing"), [("[thrd:a:1/bootstrap]: a:1/bootstrap", ""), ("[thrd:a]: a:1/1", "NOT ")]
)
def test_a_brokers_features_reach_the_trial_and_not_the_user(place: str, missing: str) -> None:
    configuration, trial, lines = listening(AUTO)

    configuration["logger"].log(logging.DEBUG, TEMPLATE, "APIVERSION", "rdkafka#1", FEATURE % (place, missing))
    trial.check_offer()

    assert trial.must_change is bool(missing)
    assert lines.seen == []


@pytest.mark.parametrize(
    "place", ["[thrd:a:1/bootstrap]: a:1/bootstrap", "[thrd:GroupCoordinator]: GroupCoordinator/1"]
)
@pytest.mark.parametrize(("newest", "is_spoken"), [(0, False), (1, True), (2, True)])
def test_a_preview_that_the_client_calls_supported_and_does_not_speak_is_no_offer(
    place: str, newest: int, is_spoken: bool
) -> None:
    configuration, trial, lines = listening(AUTO)
    log = configuration["logger"].log

    log(logging.DEBUG, TEMPLATE, "APIVERSION", "rdkafka#1", VERSIONS % (place, newest))
    log(logging.DEBUG, TEMPLATE, "APIVERSION", "rdkafka#1", FEATURE % (place, ""))
    trial.check_offer()

    assert trial.must_change is not is_spoken
    assert lines.seen == []


def test_a_broker_that_was_upgraded_meanwhile_offers_more() -> None:
    configuration, trial, _ = listening(ProtocolChoice("consumer"))
    for newest in (0, 1):
        configuration["logger"].log(
            logging.DEBUG, TEMPLATE, "APIVERSION", "r#1", VERSIONS % ("[thrd:a]: a:1/1", newest)
        )
        configuration["logger"].log(logging.DEBUG, TEMPLATE, "APIVERSION", "r#1", FEATURE % ("[thrd:a]: a:1/1", ""))
        assert trial.check_offer() is (newest == 1)


def test_once_it_joins_only_the_coordinators_features_count() -> None:
    configuration, trial, _ = listening(AUTO)
    log = configuration["logger"].log
    log(logging.DEBUG, TEMPLATE, "APIVERSION", "rdkafka#1", FEATURE % ("[thrd:a]: a:1/1", ""))
    assert trial.check_offer()

    log(logging.DEBUG, TEMPLATE, "APIVERSION", "rdkafka#1", FEATURE % ("[thrd:b]: b:1/2", "NOT "))
    assert not trial.must_change
    log(
        logging.DEBUG,
        TEMPLATE,
        "APIVERSION",
        "rdkafka#1",
        FEATURE % ("[thrd:GroupCoordinator]: GroupCoordinator/2", "NOT "),
    )
    assert trial.must_change


@pytest.mark.parametrize(
    ("debug", "contexts", "expected"),
    [
        (None, "feature", ["FAIL"]),
        ("cgrp", "cgrp,feature", ["FAIL", "JOIN"]),
        ("cgrp, broker", "cgrp, broker,feature", ["FAIL", "APIVERSION", "JOIN"]),
        ("all", "all,feature", ["FAIL", "APIVERSION", "JOIN"]),
    ],
)
def test_the_user_sees_the_lines_that_they_asked_for(debug: str | None, contexts: str, expected: list[str]) -> None:
    configuration, _, lines = listening(AUTO, **({} if debug is None else {"debug": debug}))

    for level, facility in [(logging.ERROR, "FAIL"), (logging.DEBUG, "APIVERSION"), (logging.DEBUG, "JOIN")]:
        configuration["logger"].log(level, TEMPLATE, facility, "rdkafka#1", "a line")

    assert configuration["debug"] == contexts
    assert [facility for facility, _ in lines.seen] == expected


@pytest.mark.parametrize(
    ("choice", "text", "expected"),
    [
        (AUTO, REFUSED, logging.DEBUG),
        (AUTO, "Fatal error: Broker: Group authorization failed", logging.CRITICAL),
        (ProtocolChoice("consumer"), REFUSED, logging.CRITICAL),
    ],
)
def test_a_refusal_that_is_answered_is_not_shown_as_fatal(choice: ProtocolChoice, text: str, expected: int) -> None:
    configuration, _, lines = listening(choice)

    configuration["logger"].log(logging.CRITICAL, TEMPLATE, "FATAL", "rdkafka#1", text)

    assert lines.seen == [("FATAL", expected)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KafkaError(KafkaError._FATAL, REFUSED), "GROUP_ID_NOT_FOUND"),  # noqa: SLF001 -- its public name
        (KafkaError(KafkaError._FATAL, "something new"), "_FATAL"),  # noqa: SLF001 -- its public name
        (KafkaError(KafkaError.UNSUPPORTED_VERSION), "UNSUPPORTED_VERSION"),
    ],
)
def test_a_fatal_error_is_known_by_what_caused_it(error: KafkaError, expected: str) -> None:
    assert cause_of(error) == expected
