"""What ``run --check`` says of the settings of a dead-letter topic."""

from __future__ import annotations

import pytest

from pyrallel_consumer.cli.check.letters import warnings_of

WEEK_MS = 7 * 86_400_000


@pytest.mark.parametrize(
    "settings",
    [
        {"cleanup.policy": "delete", "retention.ms": str(WEEK_MS), "retention.bytes": "-1"},
        {"cleanup.policy": "delete", "retention.ms": "-1"},
        {},
        {"retention.ms": "soon"},
    ],
)
def test_a_topic_that_keeps_letters_for_a_week_is_fine(settings: dict[str, str]) -> None:
    assert warnings_of("orders.dlq", settings) == []


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (
            {"cleanup.policy": "delete", "retention.ms": "3600000"},
            ["retention.ms=3600000 deletes letters after 1 h"],
        ),
        ({"cleanup.policy": "compact", "retention.ms": "1"}, ["cleanup.policy=compact keeps one letter of each key"]),
        (
            {"cleanup.policy": "compact,delete", "retention.ms": "0"},
            ["cleanup.policy=compact,delete", "retention.ms=0"],
        ),
        ({"retention.bytes": "1000"}, ["retention.bytes=1000 deletes the oldest"]),
    ],
)
def test_a_topic_that_loses_letters_is_told_with_the_setting_that_does_it(
    settings: dict[str, str], sentences: list[str]
) -> None:
    found = warnings_of("orders.dlq", settings)

    assert len(found) == len(sentences)
    assert all(each.startswith(f"orders.dlq: {begin}") for each, begin in zip(found, sentences, strict=True))
