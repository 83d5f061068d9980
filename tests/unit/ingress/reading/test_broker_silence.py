"""Whether any broker answers: a total outage, of whatever cause, is a silence of all brokers, and nothing less."""

from __future__ import annotations

from pyrallel_consumer.ingress.reading.broker_silence import SILENT_SECONDS, BrokerSilence, Connection

SILENT = SILENT_SECONDS + 1.0
ANSWERS = Connection(is_up=True, is_asked=True, silent_seconds=0.05)
FROZEN = Connection(is_up=True, is_asked=True, silent_seconds=SILENT)
UNUSED = Connection(is_up=True, is_asked=False, silent_seconds=SILENT)
GONE = Connection(is_up=False, is_asked=False, silent_seconds=None)
COORDINATOR = Connection(is_up=True, is_asked=True, silent_seconds=SILENT, is_coordinator=True)


def is_connected(*connections: Connection, is_joining: bool = False, seconds: float = SILENT) -> bool:
    """The verdict after all was well, and then these statistics came for this long."""
    silence = BrokerSilence(0.0)
    silence.look(100.0, [ANSWERS], is_joining=False)
    assert silence.is_connected
    silence.look(100.0 + seconds, connections, is_joining=is_joining)
    return silence.is_connected


def test_a_broker_that_was_killed_is_noticed_after_a_while() -> None:
    assert is_connected(GONE, seconds=SILENT_SECONDS - 1.0)
    assert not is_connected(GONE)
    assert not is_connected()


def test_a_broker_that_is_frozen_with_its_connections_open_is_noticed_as_well() -> None:
    assert not is_connected(FROZEN)


def test_a_connection_that_nobody_uses_is_no_sign_of_life_while_another_one_is_not_answered() -> None:
    assert not is_connected(FROZEN, UNUSED)


def test_where_nobody_is_asked_anything_nobody_is_silent() -> None:
    assert is_connected(UNUSED)


def test_one_of_several_brokers_or_the_coordinator_alone_is_no_total_outage() -> None:
    assert is_connected(ANSWERS, GONE)
    assert is_connected(ANSWERS, FROZEN)
    assert is_connected(ANSWERS, COORDINATOR)
    assert is_connected(ANSWERS, COORDINATOR, is_joining=True)


def test_a_coordinator_that_waits_for_a_dead_member_of_the_group_is_not_silent_but_patient() -> None:
    assert is_connected(COORDINATOR, UNUSED, is_joining=True)
    assert not is_connected(COORDINATOR, UNUSED)
    assert not is_connected(COORDINATOR, FROZEN, is_joining=True)


def test_it_is_connected_again_as_soon_as_one_answers_and_says_how_long_it_was_not() -> None:
    silence = BrokerSilence(0.0)
    silence.look(30.0, [GONE], is_joining=False)
    assert (silence.is_connected, silence.seconds) == (False, 30.0)
    silence.look(32.5, [GONE, ANSWERS], is_joining=False)
    assert silence.is_connected
    assert silence.seconds < 1.0
    silence.look(33.0, [FROZEN], is_joining=False)
    assert silence.is_connected  # an older sign of life takes nothing back


def test_before_the_first_look_nothing_has_been_silent() -> None:
    assert BrokerSilence(50.0).seconds == 0.0
