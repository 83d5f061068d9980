"""How letters are counted and shown: nothing unreadable, nothing that could steer a terminal."""

from __future__ import annotations

import json

import pytest

from pyrallel_consumer.cli.dlq.counts import Counts, age, table_of
from pyrallel_consumer.cli.dlq.letter import StoredLetter, letter_of
from pyrallel_consumer.cli.dlq.listing import Listing
from pyrallel_consumer.cli.dlq.shown import json_of, lines_of, text_of, time_of, value_of
from pyrallel_consumer.control_plane.failures.letter import Record
from pyrallel_consumer.dto import Headers, TopicPartition

HOUR_MS = 3_600_000
NOW_MS = 100 * 24 * HOUR_MS


def letter(
    reason: bytes = b"ValueError: bad",
    value: bytes | None = b"value",
    at_ms: int | None = NOW_MS,
    group: bytes = b"shop",
) -> StoredLetter:
    headers: Headers = [
        ("trace", b"7"),
        ("x-error-reason", reason),
        ("source-topic", b"orders"),
        ("partition", b"2"),
        ("offset", b"9"),
        ("x-consumer-group", group),
        ("x-failed-at", b"%d" % NOW_MS),
        ("x-original-timestamp", None if at_ms is None else b"%d" % at_ms),
        ("x-error-traceback", b"ValueError\n  File"),
    ]
    return letter_of(TopicPartition("orders.dlq", 1), 0, Record(b"key", value, headers, NOW_MS))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("größer".encode(), "größer"),
        (b"\xff\x00", "hex:ff00"),
        (b"\x1b[2J", "hex:1b5b324a"),
        (b"two\nlines", "two\nlines"),
        (b"", ""),
        (None, "-"),
    ],
)
def test_bytes_are_text_where_they_are_and_hexadecimal_where_not(data: bytes | None, text: str) -> None:
    assert text_of(data) == text


def test_json_is_indented_and_what_only_looks_like_it_is_left_alone() -> None:
    assert value_of(b'{"a":[1]}') == '{\n  "a": [\n    1\n  ]\n}'
    assert value_of(b"{not json") == "{not json"


def test_escapes_of_json_that_could_steer_a_terminal_stay_escapes() -> None:
    steering = rb'{"a": "\u009b2J \u202e \u2028 \ud800 \u00fc \u3000\u6f22"}'

    shown = value_of(steering)

    assert shown == '{\n  "a": "\\u009b2J \\u202e \\u2028 \\ud800 ü \u3000漢"\n}'
    assert json.loads(shown) == json.loads(steering)


def test_json_that_is_too_deep_to_be_read_is_shown_as_it_is() -> None:
    deep = "[" * 100_000

    assert value_of(deep.encode()) == deep


def test_no_text_of_a_letter_looks_like_a_field_of_it() -> None:
    headers: Headers = [
        ("a", b"1\nerror     none"),
        ("x-error-reason", b"no"),
        ("x-error-traceback", b"E\nvalue\nfine"),
    ]
    headers.append(("x-payload-omitted", b"\x9b\xc2\x9bx"))
    lines = "\n".join(lines_of(letter_of(TopicPartition("orders.dlq", 1), 0, Record(b"k\ngroup     x", b"", headers))))

    assert [line for line in lines.splitlines() if line.startswith(("error", "group", "value"))] == [
        "error     no",
        "group     (unknown)",
        "value",
    ]
    assert "\x9b" not in lines


def test_letters_are_listed_with_the_place_that_show_asks_for() -> None:
    listing = Listing(2)
    for reason in (b"ValueError: bad", b"x" * 500, b"third"):
        listing.add(letter(reason), is_replayed=reason == b"third")

    head, first, second = listing.table()
    assert dict(zip(head, first, strict=True)) == {
        "dlq topic": "orders.dlq",
        "partition": "1",
        "offset": "0",
        "failed": "1970-04-11T00:00:00.000+00:00",
        "group": "shop",
        "source": "orders[2]@9",
        "replayed": "no",
        "error": "ValueError: bad",
    }
    assert second[-1] == "x" * 80 + "..."
    assert (listing.left_out, len(listing.to_json())) == (1, 2)
    assert listing.to_json()[0]["source"] == {"topic": "orders", "partition": 2, "offset": 9}


def test_letters_of_two_groups_are_counted_apart() -> None:
    counts = Counts()
    for group in (b"shop", b"audit", b"shop"):
        counts.add(letter(group=group), is_replayed=False)

    assert {(row.kind.group, row.letters) for row in counts.rows()} == {("shop", 2), ("audit", 1)}


def test_a_letter_is_shown_line_by_line() -> None:
    assert lines_of(letter()) == [
        "letter    orders.dlq[1]@0",
        "source    orders[2]@9",
        "error     ValueError: bad",
        "group     shop",
        "failed    1970-04-11T00:00:00.000+00:00",
        "attempts  (unknown)",
        "replays   0",
        "time      1970-04-11T00:00:00.000+00:00",
        "key       key",
        "header    trace: 7",
        "traceback ValueError\n            File",
        "value",
        "value",
    ]


def test_an_error_cannot_steer_the_terminal() -> None:
    steering = letter(reason=b"Bad\x1b[2J: text")

    assert "\x1b" not in "\n".join(lines_of(steering))
    counts = Counts()
    counts.add(steering, is_replayed=False)
    assert "\x1b" not in str(table_of(counts.rows(), NOW_MS))


def test_the_json_of_a_letter_has_its_source_and_headers() -> None:
    found = json_of(letter(value=None))

    assert found["source"] == {"topic": "orders", "partition": 2, "offset": 9}
    assert (found["value"], found["key"], found["headers"]) == (None, "key", [["trace", "7"]])


def test_letters_are_counted_by_error_with_the_most_frequent_first() -> None:
    counts = Counts()
    counts.add(letter(b"KeyError: 1"), is_replayed=False)
    counts.add(letter(b"ValueError: a", at_ms=NOW_MS - 2 * HOUR_MS), is_replayed=True)
    counts.add(letter(b"ValueError: b", at_ms=NOW_MS - 72 * HOUR_MS), is_replayed=False)

    assert table_of(counts.rows(), NOW_MS)[1:] == [
        ("orders.dlq", "shop", "ValueError", "orders", "2", "1", "0", "3 d", "2 h"),
        ("orders.dlq", "shop", "KeyError", "orders", "1", "0", "0", "now", "now"),
    ]
    assert counts.letters == 3


@pytest.mark.parametrize(
    ("ago_ms", "text"), [(0, "now"), (5000, "5 s"), (119_000, "119 s"), (120_000, "2 min"), (50 * HOUR_MS, "2 d")]
)
def test_an_age_has_one_unit(ago_ms: int, text: str) -> None:
    assert age(NOW_MS - ago_ms, NOW_MS) == text
    assert age(None, NOW_MS) == "-"


def test_a_time_that_no_calendar_has_is_shown_as_it_is() -> None:
    assert time_of(10**18) == f"{10**18} ms"
    assert time_of(None) == "-"
