"""The session of a group is requested until it is told, without waiting for it; the admin client is scripted."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.polling.lookups.group_session import SESSION, GroupSession
from pyrallel_consumer.ingress.reading.coordinator_silence import DEFAULT_SESSION_SECONDS, CoordinatorSilence


@dataclass
class Entry:
    value: str


class ScriptedAdmin(AdminLook):
    """Has no answer until the test gives it one; with ``is_mute`` nothing can be asked at all."""

    def __init__(self, *, is_mute: bool = False) -> None:
        super().__init__({}, lambda: 0.0)
        self.asked: list[str] = []
        self.answer: Future[Any] = Future()
        self.is_mute = is_mute

    def group_settings(self, group: str, seconds: float) -> Future[Any] | None:
        self.asked.append(group)
        return None if self.is_mute else self.answer

    def serve(self) -> None:
        """Nothing to serve."""


def looked(admin: ScriptedAdmin, times: int = 3) -> float:
    silence = CoordinatorSilence()
    session = GroupSession(admin, "billing", silence)
    for _ in range(times):
        session.look(0.0)
    return silence.session_seconds


def test_it_is_asked_once_and_taken_when_it_is_there() -> None:
    admin = ScriptedAdmin()
    silence = CoordinatorSilence()
    session = GroupSession(admin, "billing", silence)
    session.look(0.0)
    session.look(0.0)
    assert silence.session_seconds == DEFAULT_SESSION_SECONDS

    admin.answer.set_result({SESSION: Entry("6000")})
    session.look(0.0)
    session.look(0.0)

    session.look(1e9)
    assert silence.session_seconds == 6.0
    assert admin.asked == ["billing"]


@pytest.mark.parametrize("settings", [{}, {SESSION: Entry("")}, {SESSION: Entry("soon")}])
def test_an_answer_without_a_session_leaves_kafkas_default(settings: dict[str, Entry]) -> None:
    admin = ScriptedAdmin()
    admin.answer.set_result(settings)

    assert looked(admin) == DEFAULT_SESSION_SECONDS


def test_whoever_may_not_ask_has_kafkas_default() -> None:
    refused = ScriptedAdmin()
    refused.answer.set_exception(KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)))

    assert looked(refused) == DEFAULT_SESSION_SECONDS
    assert looked(ScriptedAdmin(is_mute=True)) == DEFAULT_SESSION_SECONDS


def test_what_was_not_answered_is_asked_again_after_a_minute() -> None:
    admin = ScriptedAdmin()
    silence = CoordinatorSilence()
    session = GroupSession(admin, "billing", silence)
    admin.answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))  # noqa: SLF001 -- the client's name
    for now in (0.0, 5.0, 59.0):
        session.look(now)
    assert admin.asked == ["billing"]

    admin.answer = Future()
    admin.answer.set_result({SESSION: Entry("6000")})
    session.look(60.0)
    session.look(60.0)

    assert silence.session_seconds == 6.0
    assert admin.asked == ["billing", "billing"]
