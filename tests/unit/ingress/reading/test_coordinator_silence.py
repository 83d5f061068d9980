"""A commit that stays unanswered for half a session is reported once."""

from __future__ import annotations

from pyrallel_consumer.ingress.reading.coordinator_silence import DEFAULT_SESSION_SECONDS, CoordinatorSilence


def test_a_commit_that_is_unanswered_for_half_a_session_is_told_of_once() -> None:
    silence = CoordinatorSilence()
    silence.session_seconds = 6.0

    assert silence.look(102.9, 100.0) == 0.0
    assert silence.look(103.5, 100.0) == 3.5
    assert silence.look(104.0, 100.0) == 0.0


def test_the_next_commit_that_is_unanswered_is_told_of_again() -> None:
    silence = CoordinatorSilence()
    silence.session_seconds = 6.0
    silence.look(103.5, 100.0)

    assert silence.look(104.0, None) == 0.0
    assert silence.look(105.0, 104.0) == 0.0
    assert silence.look(107.0, 104.0) == 3.0


def test_until_the_broker_has_told_its_session_it_is_kafka_s() -> None:
    silence = CoordinatorSilence()

    assert silence.look(100.0 + DEFAULT_SESSION_SECONDS / 2 - 0.1, 100.0) == 0.0
    assert silence.look(100.0 + DEFAULT_SESSION_SECONDS / 2, 100.0) == DEFAULT_SESSION_SECONDS / 2
