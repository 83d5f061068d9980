"""What a stored letter says, and what goes back of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pyrallel_consumer.cli.dlq_letter import Source, StoredLetter, letter_of
from pyrallel_consumer.control_plane.letter import Letter, LetterForm, Record, record_of
from pyrallel_consumer.dto import Headers, TopicPartition
from pyrallel_consumer.testing import work_item

DLQ = TopicPartition("orders.dlq", 0)


def stored(
    form: LetterForm = LetterForm.FULL, *, headers: Iterable[tuple[str | bytes, bytes | None]] = (), shrunk: int = 0
) -> StoredLetter:
    """A letter as the library writes it, read back."""
    item = work_item(b"value", key=b"key", headers=headers, topic="orders", partition=3, offset=17, timestamp=1_000)
    letter = Letter(item, "orders.dlq", "ValueError: invalid data", 3, form)
    for _ in range(shrunk):
        letter.shrink()
    return letter_of(DLQ, 5, record_of(letter))


def test_a_letter_says_where_its_message_was_read_and_why_it_failed() -> None:
    letter = stored()

    assert letter.source == Source("orders", 3, 17)
    assert (letter.reason, letter.error, letter.attempts) == ("ValueError: invalid data", "ValueError", 3)
    assert (letter.key, letter.value, letter.timestamp_ms, letter.replays) == (b"key", b"value", 1_000, 0)
    assert letter.why_not_replayable is None


def test_what_goes_back_is_the_message_and_the_count_of_replays() -> None:
    letter = stored(headers=[("trace", b"7"), ("trace", b"8"), ("none", None)])

    assert letter.replayed() == Record(
        b"key", b"value", [("trace", b"7"), ("trace", b"8"), ("none", None), ("x-replay-count", b"1")], 1_000
    )


def test_the_count_grows_with_each_replay_and_stays_one_header() -> None:
    letter = stored(headers=[("x-replay-count", b"4"), ("trace", b"7")])

    assert letter.replays == 4
    assert letter.replayed().headers == [("trace", b"7"), ("x-replay-count", b"5")]


def test_a_letter_whose_headers_were_unreadable_goes_back_without_them_and_says_so() -> None:
    letter = stored(headers=[(b"caf\xe9", b"1"), ("fine", b"2")])

    assert (letter.headers, letter.why_not_replayable) == ([], None)
    assert letter.headers_omitted == "unreadable: a header's name is not UTF-8"
    assert letter.replayed().headers == [
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
    assert letter.replayed().headers == [*own, ("x-replay-count", b"1")]


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
