"""When a client that no broker answers is given up for another one; the admin clients are scripted."""

from __future__ import annotations

import json
from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.client.known_brokers import REPORT_MS
from pyrallel_consumer.ingress.client.statistics import Statistics
from pyrallel_consumer.ingress.polling.lookups.lost_brokers import ASK_EVERY_SECONDS, LONG_SECONDS, TIMES, LostBrokers
from pyrallel_consumer.ingress.reading.broker_silence import Connection

STARTING = {"state": "INIT", "rxidle": -1, "waitresp_cnt": 0}


class Admin(AdminLook):
    """Its question is answered when ``Rig.answer`` says so."""

    def __init__(self, answers: list[Future[Any]]) -> None:
        super().__init__({}, lambda: 0.0)
        self._given = answers

    def topic_ids(self, topics: Collection[str], seconds: float) -> dict[str, Future[Any]]:
        assert 0 < seconds < LONG_SECONDS
        self._given.append(Future())
        return dict.fromkeys(topics, self._given[-1])


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.questions: list[Future[Any]] = []
        self.statistics = Statistics(lambda: self.now)
        self.lost = LostBrokers(lambda: Admin(self.questions), self.statistics, lambda: self.now)

    def look(self, seconds: float = 1.0, topics: tuple[str, ...] = ("orders", "payments")) -> bool:
        self.now += seconds
        self.statistics.silence.look(self.now, (), is_joining=False)
        return self.lost.is_client_lost(topics, self.now)

    def answer(self, times: int) -> list[bool]:
        """So many questions are answered, one after the other; returns what each answer shows."""
        found = []
        for _ in range(times):
            self.look(ASK_EVERY_SECONDS)
            self.questions[-1].set_result(object())
            found.append(self.look(0.05))
        return found

    def heard(self) -> None:
        self.statistics.silence.look(
            self.now, [Connection(is_up=True, is_asked=False, silent_seconds=0)], is_joining=False
        )

    def reports(self, **brokers: str) -> bool:
        """The client reports these brokers, by name with their source; returns whether it is lost."""
        self.now += REPORT_MS / 1000
        self.statistics.take(json.dumps({"brokers": {name: STARTING | {"source": brokers[name]} for name in brokers}}))
        return self.lost.is_client_lost(("orders",), self.now)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_nobody_is_asked_before_the_silence_is_long(rig: Rig) -> None:
    assert not rig.look(LONG_SECONDS - 1)
    assert not rig.look(0.5, topics=())
    assert rig.questions == []


def test_a_client_is_lost_where_others_are_answered_again_and_again(rig: Rig) -> None:
    assert not rig.look(LONG_SECONDS - ASK_EVERY_SECONDS)

    assert rig.answer(TIMES) == [False] * (TIMES - 1) + [True]


def test_a_broker_that_has_just_come_back_gives_the_client_time_to_connect(rig: Rig) -> None:
    rig.look(LONG_SECONDS - ASK_EVERY_SECONDS)
    rig.answer(TIMES - 1)
    rig.heard()
    rig.look(LONG_SECONDS - ASK_EVERY_SECONDS)

    assert rig.answer(TIMES - 1) == [False] * (TIMES - 1)


def test_in_an_outage_nobody_is_answered_and_the_client_stays(rig: Rig) -> None:
    rig.look(LONG_SECONDS)
    for _ in range(3):
        rig.questions[-1].set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))  # noqa: SLF001 -- the client's name
        assert not rig.look()
        rig.look(5)

    assert len(rig.questions) == 4


def test_if_the_next_client_hears_nobody_either_it_is_given_more_time(rig: Rig) -> None:
    rig.look(LONG_SECONDS - ASK_EVERY_SECONDS)
    assert rig.answer(TIMES)[-1]
    rig.heard()

    assert not rig.look(LONG_SECONDS + 1)
    assert len(rig.questions) == TIMES
    rig.look(LONG_SECONDS)
    assert len(rig.questions) == TIMES + 1


def test_a_broker_that_answers_meanwhile_ends_the_doubt(rig: Rig) -> None:
    rig.look(LONG_SECONDS)
    rig.questions[-1].set_result(object())
    rig.heard()

    assert not rig.look()


def test_a_client_that_knows_no_broker_is_lost_and_nobody_else_is_asked(rig: Rig) -> None:
    assert not rig.reports(one="learned", coordinator="logical")
    assert not rig.reports(coordinator="logical")
    assert not rig.reports(coordinator="logical")
    assert rig.reports(coordinator="logical")
    assert rig.questions == []


def test_the_next_client_is_judged_by_its_own_reports(rig: Rig) -> None:
    while not rig.reports():
        pass
    assert not rig.look(seconds=0.1)
    assert not rig.reports()


def test_a_client_that_begins_anew_at_its_bootstrap_servers_is_not_lost(rig: Rig) -> None:
    assert not rig.reports()
    assert not rig.reports(bootstrap="configured")
    assert not any(rig.reports(coordinator="logical") for _ in range(2))
    assert not rig.reports(one="learned")


def test_a_client_whose_brokers_are_all_down_still_knows_them(rig: Rig) -> None:
    assert not any(rig.reports(one="learned", two="learned") for _ in range(7))


def test_a_report_that_tells_nothing_of_brokers_shows_no_loss(rig: Rig) -> None:
    for _ in range(3):
        rig.now += 5
        rig.statistics.take('{"name": "c"}')
        assert not rig.lost.is_client_lost(("orders",), rig.now)
