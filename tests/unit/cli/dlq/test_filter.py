"""Which letters a filter selects, and which filters are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyrallel_consumer.cli.dlq.filter import LetterFilter, Span, parse_filters
from pyrallel_consumer.cli.dlq.letter import StoredLetter, letter_of
from pyrallel_consumer.control_plane.failures.letter import Record
from pyrallel_consumer.dto import TopicPartition

NOW_MS = 1_700_000_000_000


def letter(
    reason: bytes = b"ValueError: invalid data", key: bytes | None = b"key", at_ms: int | None = 1_000
) -> StoredLetter:
    return letter_of(TopicPartition("orders.dlq", 0), 0, Record(key, b"value", [("x-error-reason", reason)], at_ms))


def test_without_filters_every_letter_is_selected() -> None:
    assert parse_filters((), NOW_MS) == LetterFilter()
    assert LetterFilter().selects(letter(at_ms=None, key=None))


@pytest.mark.parametrize(
    ("filters", "is_selected"),
    [
        (["error=valueerror"], True),
        (["error=INVALID"], True),
        (["error=KeyError"], False),
        (["error=KeyError", "error=data"], True),
        (["key=key"], True),
        (["key=other"], False),
        (["key=hex:6b6579"], True),
        (["key=a=b", "key=key"], True),
        (["error=ValueError", "key=other"], False),
        (["since=1970-01-01T00:00:01"], True),
        (["since=1970-01-01T00:00:01.001"], False),
        (["until=1970-01-01T00:00:01"], False),
        (["until=1970-01-01T09:00:01.001+09:00"], True),
        (["since=1970-01-01", "until=1970-01-02"], True),
    ],
)
def test_a_letter_is_selected_when_every_kind_of_filter_agrees(filters: list[str], is_selected: bool) -> None:
    assert parse_filters(filters, NOW_MS).selects(letter()) is is_selected


@pytest.mark.parametrize(
    ("ago", "since_ms"),
    [("90s", NOW_MS - 90_000), ("30m", NOW_MS - 1_800_000), ("2h", NOW_MS - 7_200_000), ("7d", NOW_MS - 604_800_000)],
)
def test_a_time_may_be_how_long_ago(ago: str, since_ms: int) -> None:
    assert parse_filters([f"since={ago}"], NOW_MS).written == Span(since_ms)


def test_letters_are_selected_by_the_time_at_which_they_failed() -> None:
    failed = replace(letter(at_ms=1_000), failed_at_ms=5_000)
    within = ["failed-since=1970-01-01T00:00:05", "failed-until=1970-01-01T00:00:06"]
    assert parse_filters(within, NOW_MS).selects(failed)
    assert not parse_filters([*within, "since=1970-01-01T00:00:02"], NOW_MS).selects(failed)
    assert not parse_filters(["failed-until=1970-01-01T00:00:05"], NOW_MS).selects(failed)
    assert not parse_filters(["failed-since=1970-01-01"], NOW_MS).selects(letter())


def test_a_letter_without_a_time_or_a_key_is_selected_by_none_of_them() -> None:
    assert not parse_filters(["since=1970-01-01"], NOW_MS).selects(letter(at_ms=None))
    assert not parse_filters(["key=key"], NOW_MS).selects(letter(key=None))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ValueError", "'ValueError' is no filter"),
        ("error=", "'error=' is no filter"),
        ("reason=x", "'reason' is nothing to filter by"),
        ("since=yesterday", "'yesterday' is no time"),
        ("key=hex:xyz", "no bytes in hexadecimal"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_by_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_filters([text], NOW_MS)


def test_letters_of_one_consumer_group_are_selected_and_those_that_name_none_are_not() -> None:
    of_shop = parse_filters(["error=valueerror"], NOW_MS, "shop")

    assert of_shop.selects(replace(letter(), group="shop"))
    assert not of_shop.selects(replace(letter(), group="audit"))
    assert not of_shop.selects(letter())


def test_two_beginnings_are_refused() -> None:
    with pytest.raises(ValueError, match="since= is given twice"):
        parse_filters(["since=1d", "since=2d"], NOW_MS)
