"""Which protocol of groups a member speaks: what the settings say, and what the broker may change."""

from __future__ import annotations

from typing import Literal

import pytest

from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.ingress.reading.group_protocol import REFUSALS, ProtocolChoice, ProtocolTrial, choose

Wanted = Literal["auto", "classic", "consumer"]
AUTO = ProtocolChoice("consumer", may_change=True)


@pytest.mark.parametrize(
    ("wanted", "in_mapping", "expected"),
    [
        ("auto", None, AUTO),
        ("auto", "classic", ProtocolChoice("classic")),
        ("auto", "consumer", ProtocolChoice("consumer")),
        ("classic", None, ProtocolChoice("classic")),
        ("classic", "classic", ProtocolChoice("classic")),
        ("consumer", None, ProtocolChoice("consumer")),
        ("consumer", "consumer", ProtocolChoice("consumer")),
        ("auto", "no such protocol", ProtocolChoice("classic")),
    ],
)
def test_the_mapping_beats_auto_and_a_named_protocol_never_changes(
    wanted: Wanted, in_mapping: str | None, expected: ProtocolChoice
) -> None:
    assert choose(wanted, in_mapping, []) == expected


@pytest.mark.parametrize(("wanted", "in_mapping"), [("classic", "consumer"), ("consumer", "classic")])
def test_two_names_that_contradict_each_other_are_refused_by_both_names(wanted: Wanted, in_mapping: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"group_protocol is {wanted}.*group\.protocol.*is {in_mapping}"):
        choose(wanted, in_mapping, [])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["session_timeout_ms"], "session_timeout_ms is set, which only classic has"),
        (["a", "b"], "a, b are set, which only classic has"),
    ],
)
def test_auto_is_classic_where_a_setting_is_set_that_only_classic_has(names: list[str], expected: str) -> None:
    assert choose("auto", None, names) == ProtocolChoice("classic", why=expected)


def test_a_setting_that_only_classic_has_changes_no_named_protocol_and_its_uselessness_is_told() -> None:
    choice = choose("consumer", None, ["session_timeout_ms"])

    assert choice == ProtocolChoice("consumer", why="session_timeout_ms is set, without effect here")
    assert choose("classic", None, ["session_timeout_ms"]) == ProtocolChoice("classic")


# ---------------------------------------------------------------- what the broker says


def joining(choice: ProtocolChoice = AUTO) -> ProtocolTrial:
    """A trial whose member was told to join: a broker has the consumer protocol."""
    trial = ProtocolTrial(choice)
    trial.hear_broker(has_it=True, is_coordinator=False)
    assert trial.check_offer()
    assert not trial.must_change
    return trial


def test_auto_speaks_consumer_where_the_broker_has_it() -> None:
    trial = joining()

    assert (trial.in_use, trial.why, trial.may_change) == ("consumer", "", True)


def test_auto_begins_anew_with_classic_where_a_broker_lacks_consumer() -> None:
    trial = ProtocolTrial(AUTO)
    trial.hear_broker(has_it=True, is_coordinator=False)
    trial.hear_broker(has_it=False, is_coordinator=False)

    assert trial.must_change
    trial.change()

    assert trial.in_use == "classic"
    assert "a broker does not have consumer" in trial.why
    assert not trial.must_change


def test_auto_takes_classic_where_nothing_is_known_of_the_brokers() -> None:
    trial = ProtocolTrial(AUTO)

    assert trial.check_offer()
    assert trial.must_change


def test_once_it_joins_only_the_coordinator_tells_that_consumer_is_missing() -> None:
    trial = joining()

    trial.hear_broker(has_it=False, is_coordinator=False)
    assert not trial.must_change
    trial.hear_broker(has_it=False, is_coordinator=True)
    assert trial.must_change


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_a_refusal_of_the_group_makes_it_classic_and_says_why(code: str) -> None:
    trial = joining()

    assert trial.hear_refusal(code)
    assert trial.must_change
    trial.change()

    assert (trial.in_use, trial.why) == ("classic", REFUSALS[code])


def test_the_first_of_several_reasons_is_told() -> None:
    trial = joining()

    assert trial.hear_refusal("GROUP_ID_NOT_FOUND")
    assert trial.hear_refusal("UNSUPPORTED_VERSION")
    trial.change()

    assert trial.why == REFUSALS["GROUP_ID_NOT_FOUND"]


@pytest.mark.parametrize("code", ["_TIMED_OUT", "COORDINATOR_NOT_AVAILABLE", "GROUP_AUTHORIZATION_FAILED", "_FATAL"])
def test_whatever_classic_would_suffer_too_changes_nothing(code: str) -> None:
    trial = joining()

    assert not trial.hear_refusal(code)
    assert not trial.must_change


@pytest.mark.parametrize("is_refused_before", [False, True])
def test_with_the_first_partition_the_protocol_is_settled(is_refused_before: bool) -> None:
    trial = joining()
    if is_refused_before:
        trial.hear_refusal("UNSUPPORTED_VERSION")

    trial.settle()

    assert not trial.must_change
    assert not trial.hear_refusal("UNSUPPORTED_VERSION")
    trial.hear_broker(has_it=False, is_coordinator=True)
    assert not trial.must_change
    assert trial.in_use == "consumer"


def test_it_changes_once_at_most() -> None:
    trial = joining()
    trial.hear_refusal("UNSUPPORTED_VERSION")
    trial.change()

    assert not trial.hear_refusal("INCONSISTENT_GROUP_PROTOCOL")
    assert not trial.must_change
    assert trial.check_offer()


def test_consumer_by_name_cannot_join_where_no_broker_has_it() -> None:
    trial = ProtocolTrial(ProtocolChoice("consumer"))
    assert trial.check_offer(), "where nothing is known it is tried"
    trial.hear_broker(has_it=False, is_coordinator=True)

    assert not trial.check_offer()
    assert not trial.must_change
    assert not trial.hear_refusal("UNSUPPORTED_VERSION")


def test_consumer_by_name_joins_where_one_broker_has_it() -> None:
    trial = ProtocolTrial(ProtocolChoice("consumer"))
    trial.hear_broker(has_it=False, is_coordinator=False)
    trial.hear_broker(has_it=True, is_coordinator=False)

    assert trial.check_offer()


def test_classic_joins_whatever_brokers_have() -> None:
    trial = ProtocolTrial(ProtocolChoice("classic"))
    trial.hear_broker(has_it=False, is_coordinator=True)

    assert trial.check_offer()
    assert not trial.must_change
