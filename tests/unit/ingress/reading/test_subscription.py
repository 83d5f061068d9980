"""What may be given as ``topic``, and which topics a pattern takes."""

from __future__ import annotations

from typing import Any

import pytest

from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.ingress.reading.subscription import check_letter_topics, parse_topic


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("orders", ("orders",)),
        ("orders.dlq", ("orders.dlq",)),
        (["orders", "Bills_2-eu.x"], ("orders", "Bills_2-eu.x")),
        (("b", "a"), ("b", "a")),
        (iter(["a"]), ("a",)),
        ("a" * 249, ("a" * 249,)),
    ],
)
def test_names_are_subscribed_as_given_whatever_the_broker_knows(topic: object, names: tuple[str, ...]) -> None:
    subscription = parse_topic(topic, ".dlq")

    assert subscription.pattern is None
    assert subscription.names == names
    assert subscription.matching(["other"]) == names


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^orders", ("orders",)),
        ("^orders.*", ("orders", "orders-eu", "orders-us")),
        ("^orders-eu|bills", ("bills", "orders-eu")),
        ("^nothing", ()),
        ("^[ab].*", ("bills",)),
    ],
)
def test_a_pattern_takes_whole_names_in_sorted_order(pattern: str, expected: tuple[str, ...]) -> None:
    known = ["orders-us", "orders", "orders-eu", "my-orders", "bills", "bills"]

    assert parse_topic(pattern, None).matching(known) == expected


def test_a_pattern_never_takes_the_consumers_own_dead_letter_topics() -> None:
    known = ["orders", "orders.failed", "orders.failed.failed", "orders.dlq"]

    assert parse_topic("^orders.*", ".failed").matching(known) == ("orders", "orders.dlq")


@pytest.mark.parametrize("no_suffix", [None, ""])
def test_without_dead_letters_a_pattern_takes_every_name_it_matches(no_suffix: str | None) -> None:
    assert parse_topic("^orders.*", no_suffix).matching(["orders", "orders.dlq"]) == ("orders", "orders.dlq")


def test_a_pattern_never_takes_kafkas_internal_topics() -> None:
    known = ["__consumer_offsets", "__transaction_state", "__share_group_state", "__mine", "orders"]

    assert parse_topic("^.*", None).matching(known) == ("__mine", "orders")


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("", "no name for a topic"),
        ("two words", "no name for a topic"),
        ("..", "no name for a topic"),
        ("a" * 250, "no name for a topic"),
        ("orders\n", "no name for a topic"),
        ([], "empty list"),
        (["a", "b", "a"], "names a more than once"),
        (["a", "^b"], "a pattern stands alone"),
        (["a", 7], "topic=7: a topic's name is a string"),
        (7, "topic=7: give a name"),
        (None, "topic=None: give a name"),
        (b"orders", "topic=b'orders': give a name"),
        ("^(", r"topic='\^\(' is no regular expression"),
    ],
)
def test_what_is_no_topic_is_refused_with_a_sentence_that_shows_it(topic: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse_topic(topic, None)


@pytest.mark.parametrize(("topic", "text"), [(["a", "b"], "a, b"), ("^a.*", "^a.*")])
def test_a_subscription_prints_as_what_was_asked_for(topic: object, text: str) -> None:
    assert str(parse_topic(topic, None)) == text


def test_a_topic_whose_dead_letter_topic_would_have_too_long_a_name_is_refused() -> None:
    longest = "o" * 245
    check_letter_topics(parse_topic(longest, ".dlq"), ".dlq")
    check_letter_topics(parse_topic("^o+", ".dlq"), ".dlq")

    with pytest.raises(ConfigurationError, match="would have a name of 250 characters") as refused:
        check_letter_topics(parse_topic(["orders", longest], ".dlq"), ".dlq2")
    assert "KafkaConfig.dlq_topic_suffix" in str(refused.value)


def test_dead_letter_topics_are_those_of_the_topics_that_are_consumed() -> None:
    known = ["orders", "orders.dlq", "bills"]

    assert parse_topic(["orders", "bills"], ".dlq").letter_topics(known, ".dlq") == ("orders.dlq", "bills.dlq")
    assert parse_topic("^orders.*", ".dlq").letter_topics(known, ".dlq") == ("orders.dlq",)
