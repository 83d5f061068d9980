"""Which topics the options of the dead-letter commands mean."""

from __future__ import annotations

import pytest

from pyrallel_consumer.cli.dlq.plan import Where


@pytest.mark.parametrize(
    ("topic", "dlq_topic", "suffix", "source"),
    [
        ("orders", None, ".dlq", "orders"),
        (None, "orders.dlq", ".dlq", "orders"),
        (None, "failures", ".dlq", None),
        (None, "orders.dlq", ".failed", None),
        (None, None, ".dlq", None),
    ],
)
def test_letters_belong_to_the_topic_that_the_name_of_theirs_tells(
    topic: str | None, dlq_topic: str | None, suffix: str, source: str | None
) -> None:
    assert Where(topic, dlq_topic, None, None).source_topic(suffix) == source


def test_replays_are_noted_in_a_group_of_the_dead_letter_topic_unless_one_is_named() -> None:
    assert Where("orders", None, None, "shop").replay_group_of("orders.dlq") == "orders.dlq.replay"
    assert Where("orders", None, None, "shop", (), "mine").replay_group_of("orders.dlq") == "mine"


@pytest.mark.parametrize(
    ("topic", "suffix", "hint"),
    [
        ("orders.dlq", ".dlq", "; if 'orders.dlq' is the dead-letter topic itself, give it as --dlq-topic"),
        ("orders", ".dlq", ""),
        (None, ".dlq", ""),
        ("orders", "", ""),
    ],
)
def test_a_dead_letter_topic_in_the_place_of_its_source_topic_is_noticed(
    topic: str | None, suffix: str, hint: str
) -> None:
    assert Where(topic, None, None, None).hint(suffix) == hint
