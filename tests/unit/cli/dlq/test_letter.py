"""What a stored letter says, and which message a replay sends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pyrallel_consumer.cli.dlq.letter import Source, StoredLetter, letter_of
from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm, Record, record_of
from pyrallel_consumer.dto import Headers, TopicPartition, WorkItem
from pyrallel_consumer.testing import work_item

DLQ = TopicPartition("orders.dlq", 0)


def item_of(
    key: bytes | None = b"key",
    value: bytes | None = b"value",
    *,
    headers: Iterable[tuple[str | bytes, bytes | None]] = (),
    timestamp: int = 1_000,
) -> WorkItem:
    return work_item(value, key=key, headers=headers, topic="orders", partition=3, offset=17, timestamp=timestamp)


def stored(
    form: LetterForm = LetterForm.FULL, *, headers: Iterable[tuple[str | bytes, bytes | None]] = (), shrunk: int = 0
) -> StoredLetter:
    """A letter as the library writes it, read back."""
    letter = Letter(
        item_of(headers=headers),
        "orders.dlq",
        "ValueError: invalid data",
        3,
        form,
        group="shop",
        failed_at_ms=2_000,
        traceback="ValueError",
    )
    for _ in range(shrunk):
        letter.shrink("MSG_SIZE_TOO_LARGE")
    return letter_of(DLQ, 5, record_of(letter))


def test_a_letter_says_where_its_message_was_read_and_why_it_failed() -> None:
    letter = stored()

    assert letter.source == Source("orders", 3, 17)
    assert (letter.reason, letter.error, letter.attempts) == ("ValueError: invalid data", "ValueError", 3)
    assert (letter.key, letter.value, letter.timestamp_ms, letter.replays) == (b"key", b"value", 1_000, 0)
    assert letter.why_not_replayable is None


def test_what_goes_back_is_the_message_with_its_time_as_a_header_and_the_count_of_replays() -> None:
    first_replay = [("x-original-timestamp", b"1000"), ("x-replay-count", b"1")]
    letter = stored(headers=[("trace", b"7"), ("trace", b"8"), ("none", None)])

    assert letter.replayed() == Record(
        b"key", b"value", [("trace", b"7"), ("trace", b"8"), ("none", None), *first_replay]
    )


def test_the_count_grows_with_each_replay_and_stays_one_header() -> None:
    letter = stored(headers=[("x-replay-count", b"4"), ("trace", b"7")])

    assert letter.replays == 4
    assert letter.replayed().headers == [
        ("trace", b"7"),
        ("x-original-timestamp", b"1000"),
        ("x-replay-count", b"5"),
    ]


def stored_headers() -> Headers:
    return record_of(Letter(item_of(), "orders.dlq", "no", 3, LetterForm.FULL, failed_at_ms=2_000)).headers


def test_a_letter_whose_headers_were_unreadable_goes_back_without_them_and_says_so() -> None:
    letter = stored(headers=[(b"caf\xe9", b"1"), ("fine", b"2")])

    assert (letter.headers, letter.why_not_replayable) == ([], None)
    assert letter.headers_omitted == "unreadable: a header's name is not UTF-8"
    assert letter.replayed().headers == [
        ("x-original-timestamp", b"1000"),
        ("x-replay-count", b"1"),
        ("x-headers-omitted", b"unreadable: a header's name is not UTF-8"),
    ]


@pytest.mark.parametrize("count", [b"many", b"", None, b"-1", b"9" * 30])
def test_a_count_that_is_none_counts_as_0(count: bytes | None) -> None:
    assert stored(headers=[("x-replay-count", count)]).replays == 0


def test_headers_of_the_message_that_have_our_names_are_kept() -> None:
    own: Headers = [("offset", b"theirs"), ("x-error-reason", b"older"), ("x-payload-omitted", b"theirs")]
    letter = stored(headers=own)

    assert letter.source == Source("orders", 3, 17)
    assert letter.why_not_replayable is None
    assert letter.replayed().headers == [*own, ("x-original-timestamp", b"1000"), ("x-replay-count", b"1")]


def test_a_letter_says_of_which_group_it_is_when_it_failed_and_where() -> None:
    letter = stored()

    assert (letter.group, letter.failed_at_ms, letter.traceback) == ("shop", 2_000, "ValueError")


def test_a_message_that_fails_after_its_replay_keeps_the_time_at_which_it_was_first_written() -> None:
    replayed = stored(headers=[("x-original-timestamp", b"theirs")]).replayed()
    again = Letter(item_of(headers=replayed.headers, timestamp=9_000), "orders.dlq", "ValueError", 3, LetterForm.FULL)

    letter = letter_of(DLQ, 6, record_of(again))

    assert (letter.timestamp_ms, letter.replays) == (1_000, 1)
    assert letter.replayed().headers == [
        ("x-original-timestamp", b"theirs"),
        ("x-original-timestamp", b"1000"),
        ("x-replay-count", b"2"),
    ]


def test_a_letter_of_an_earlier_release_carries_the_time_of_its_message_as_its_own() -> None:
    headers = [header for header in stored_headers() if not header[0].startswith(("x-original", "x-failed"))]

    letter = letter_of(DLQ, 5, Record(b"key", b"value", headers, 1_000))

    assert (letter.timestamp_ms, letter.group, letter.failed_at_ms, letter.traceback) == (1_000, "(unknown)", None, "")


def test_the_time_of_a_letter_is_not_taken_for_that_of_a_message_that_had_none() -> None:
    headers = [header for header in stored_headers() if header[0] != "x-original-timestamp"]

    letter = letter_of(DLQ, 5, Record(b"key", b"value", headers, 2_000))

    assert letter.timestamp_ms is None
    assert letter.replayed().headers == [("x-replay-count", b"1")]


@pytest.mark.parametrize(("key", "value"), [(None, b"value"), (None, b""), (None, None)])
def test_a_key_that_was_added_for_the_topic_does_not_go_back(key: bytes | None, value: bytes | None) -> None:
    letter = Letter(item_of(key, value), "orders.dlq", "ValueError", 3, LetterForm.FULL)
    letter.shrink("INVALID_RECORD")
    record = record_of(letter)
    assert record.key == b"orders-3-17"

    found = letter_of(DLQ, 5, record)

    assert (found.key, found.value) == (key, value)


@pytest.mark.parametrize(
    ("letter", "reason"),
    [
        (stored(LetterForm.METADATA_ONLY), "it has neither key nor value (dlq_payload_mode=metadata_only)"),
        (stored(shrunk=1), "its key and value were left out (message too large: 8 bytes)"),
        (stored(shrunk=2, headers=[("a", b"b")]), "its key and value were left out (message too large: 8 bytes)"),
    ],
)
def test_a_letter_without_its_payload_cannot_be_replayed(letter: StoredLetter, reason: str) -> None:
    assert letter.why_not_replayable == reason


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("source-topic", b"orders"), ("partition", b"0")],
        [("source-topic", b"orders"), ("partition", b"x"), ("offset", b"1")],
        [("source-topic", None), ("partition", b"0"), ("offset", b"1")],
    ],
)
def test_a_record_that_is_no_letter_of_ours_is_read_and_not_replayable(headers: Headers) -> None:
    letter = letter_of(DLQ, 5, Record(b"key", b"value", headers, None))

    assert (letter.source, letter.reason, letter.attempts) == (None, "(unknown)", None)
    assert "no letter of this library" in (letter.why_not_replayable or "")
