"""What a dead letter carries, in each of its forms."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm, error_reason, record_of
from pyrallel_consumer.dto import Headers, WorkItem
from pyrallel_consumer.testing import PlainMessage
from tests.unit.control_plane.builders import manager_of

OURS = [
    ("x-error-reason", b"ValueError: invalid data"),
    ("x-retry-attempt", b"3"),
    ("source-topic", b"orders"),
    ("partition", b"0"),
    ("offset", b"7"),
    ("epoch", b"1"),
    ("x-original-timestamp", b"1600000000000"),
]
TOO_LARGE = "MSG_SIZE_TOO_LARGE"
UNREADABLE = ("x-headers-omitted", b"unreadable: a header's name is not UTF-8")


def item_of(key: bytes | None = b"key", value: bytes | None = b"value", headers: Headers | None = None) -> WorkItem:
    manager = manager_of()
    tp = next(iter(manager)).tp
    message = PlainMessage("orders", 0, 7, key, value, headers=headers, timestamp=1_600_000_000_000)
    manager.add(tp, 1, [message])
    [item] = manager.take(1)
    return item


def letter_of(item: WorkItem, form: LetterForm = LetterForm.FULL) -> Letter:
    return Letter(item, "orders.dlq", "ValueError: invalid data", 3, form)


def test_a_full_letter_is_the_message_with_its_headers_and_ours_behind_them() -> None:
    headers: Headers = [("trace", b"1"), ("offset", b"the user's own"), ("empty", None)]

    record = record_of(letter_of(item_of(headers=headers)))

    assert (record.key, record.value, record.timestamp) == (b"key", b"value", None)
    assert record.headers == [*headers, *OURS]


def test_null_keys_and_tombstones_stay_what_they_are() -> None:
    record = record_of(letter_of(item_of(key=None, value=None)))

    assert (record.key, record.value) == (None, None)
    assert record.headers == OURS


@pytest.mark.parametrize("shrunk", [0, 1, 2])
def test_a_letter_of_a_message_with_unreadable_headers_has_none_of_them_and_says_so(shrunk: int) -> None:
    message = PlainMessage(
        "orders", 0, 7, b"key", b"value", headers=[("fine", b"1"), (b"caf\xe9", b"2")], timestamp=1_600_000_000_000
    )
    letter = letter_of(WorkItem(message, 7, item_of().origin))
    for _ in range(shrunk):
        letter.shrink(TOO_LARGE)

    record = record_of(letter)
    assert record == record_of(letter)
    assert (record.key, record.value) == ((b"key", b"value") if shrunk == 0 else (None, None))
    omitted = [("x-payload-omitted", b"message too large: 8 bytes")] if shrunk else []
    assert record.headers == [*OURS, *omitted, UNREADABLE]


def test_metadata_only_carries_headers_and_neither_key_nor_value() -> None:
    record = record_of(letter_of(item_of(headers=[("trace", b"1")]), LetterForm.METADATA_ONLY))

    assert (record.key, record.value, record.timestamp) == (None, None, None)
    assert record.headers == [("trace", b"1"), *OURS]


def test_a_letter_that_was_too_large_says_so_and_how_large_its_message_is() -> None:
    letter = letter_of(item_of(headers=[("trace", b"1")]))

    letter.shrink(TOO_LARGE)

    record = record_of(letter)
    assert (record.key, record.value) == (None, None)
    assert record.headers == [("trace", b"1"), *OURS, ("x-payload-omitted", b"message too large: 8 bytes")]
    assert letter.can_shrink(TOO_LARGE)


@pytest.mark.parametrize("headers", [[], [("trace", b"1"), ("span", b"2")]])
def test_a_letter_that_still_is_too_large_leaves_the_headers_of_its_message_out(headers: Headers) -> None:
    letter = letter_of(item_of(key=None, value=None, headers=headers), LetterForm.METADATA_ONLY)

    letter.shrink(TOO_LARGE)

    omitted = [("x-headers-omitted", b"2")] if headers else []
    assert record_of(letter).headers == [*OURS, ("x-payload-omitted", b"message too large: 0 bytes"), *omitted]
    assert not letter.can_shrink(TOO_LARGE)


def test_a_letter_shows_what_it_is_about() -> None:
    assert repr(letter_of(item_of())) == "<Letter orders-0-7 to orders.dlq FULL>"


def test_the_reason_is_the_errors_type_and_text() -> None:
    assert error_reason(ValueError("invalid data")) == "ValueError: invalid data"
    assert error_reason(KeyError()) == "KeyError"


def test_a_long_reason_is_cut() -> None:
    assert error_reason(ValueError("x" * 2000), 10) == "ValueError: xxxxxxxxxx..."
    assert len(error_reason(ValueError("x" * 100_000))) < 1100


def test_an_error_whose_text_cannot_be_had_has_a_reason_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert error_reason(BrokenError()) == "BrokenError: (its text cannot be had)"


def test_a_reason_that_is_no_valid_text_is_sent_all_the_same() -> None:
    letter = Letter(item_of(), "orders.dlq", error_reason(ValueError("\udcff")), 1, LetterForm.FULL)

    assert record_of(letter).headers[0] == ("x-error-reason", b"ValueError: ?")


def test_a_message_without_a_timestamp_has_a_letter_that_names_none() -> None:
    item = WorkItem(PlainMessage("orders", 0, 7, b"key", b"value"), 7, item_of().origin)

    assert "x-original-timestamp" not in dict(record_of(letter_of(item)).headers)


def test_a_letter_names_its_group_when_it_failed_and_where() -> None:
    letter = Letter(
        item_of(),
        "orders.dlq",
        "ValueError",
        3,
        LetterForm.FULL,
        group="größe",
        failed_at_ms=5,
        traceback="ValueError\udcff",
    )

    assert record_of(letter).headers[-3:] == [
        ("x-consumer-group", "größe".encode()),
        ("x-failed-at", b"5"),
        ("x-error-traceback", b"ValueError?"),
    ]


def test_a_letter_that_carries_as_little_as_can_be_has_a_short_reason_and_no_traceback() -> None:
    letter = Letter(item_of(), "orders.dlq", "x" * 1000, 3, LetterForm.BARE, traceback="ValueError")

    ours = dict(record_of(letter).headers)

    assert len(ours["x-error-reason"] or b"") < 210
    assert "x-error-traceback" not in ours


@pytest.mark.parametrize("headers", [[], [("trace", b"1"), ("span", b"2")]])
def test_a_letter_that_is_refused_for_what_it_is_keeps_its_payload_longer_than_its_headers(headers: Headers) -> None:
    letter = letter_of(item_of(headers=headers))
    omitted = [("x-headers-omitted", b"2")] if headers else []

    letter.shrink("INVALID_RECORD")
    assert record_of(letter) == (b"key", b"value", [*OURS, *omitted], None)

    letter.shrink("INVALID_RECORD")
    gone = ("x-payload-omitted", b"refused: INVALID_RECORD")
    assert record_of(letter) == (None, None, [*OURS, gone, *omitted], None)


class Unreadable(PlainMessage):
    """A third party's message that fails when it is asked for its headers."""

    asked = 0

    def headers(self) -> Headers | None:
        self.asked += 1
        raise RuntimeError


def test_headers_that_cannot_be_read_are_asked_for_once_and_named_as_missing() -> None:
    message = Unreadable("orders", 0, 7, b"key", b"value")
    letter = letter_of(WorkItem(message, 7, item_of().origin))
    with pytest.raises(RuntimeError):
        record_of(letter)

    letter.shrink("UNREADABLE")
    record = record_of(letter)
    assert (record.key, record.value) == (b"key", b"value")
    assert record.headers[-1] == UNREADABLE

    letter.shrink(TOO_LARGE)
    assert record_of(letter).headers[-1] == UNREADABLE
    assert message.asked == 1


@pytest.mark.parametrize(
    ("key", "value", "form", "made", "told"),
    [
        (None, b"value", LetterForm.FULL, b"value", b"key"),
        (None, None, LetterForm.FULL, b"", b"key and empty value"),
        (b"key", b"value", LetterForm.METADATA_ONLY, b"", b"key and empty value"),
    ],
)
def test_a_letter_without_a_key_is_given_one_of_its_own_and_is_no_tombstone(
    key: bytes | None, value: bytes | None, form: LetterForm, made: bytes, told: bytes
) -> None:
    letter = letter_of(item_of(key=key, value=value), form)

    assert letter.lacks_key
    letter.shrink("INVALID_RECORD")

    record = record_of(letter)
    assert (record.key, record.value) == (b"orders-0-7", made)
    assert record.headers == [*OURS, ("x-key-added", told)]
    assert letter.form is form


def test_only_the_smallest_form_cuts_the_reason_to_a_short_one() -> None:
    for form in LetterForm:
        letter = Letter(item_of(), "orders.dlq", "x" * 900, 3, form)
        [reason] = [value for name, value in record_of(letter).headers if name == "x-error-reason"]

        assert isinstance(reason, bytes)
        assert len(reason) == (len("...") + 200 if form is LetterForm.BARE else 900)
