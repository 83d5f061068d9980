"""Messages and dead letters of any bytes: each letter names its source, and gives its message back."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pyrallel_consumer import TopicPartition
from pyrallel_consumer.cli.dlq.letter import OF_REPLAYS, letter_of
from pyrallel_consumer.control_plane.failures import letter as letters
from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm, Record, error_reason, record_of
from pyrallel_consumer.dto import Headers
from pyrallel_consumer.testing import work_item

OUR_NAMES = sorted(
    value for name, value in vars(letters).items() if name.isupper() and isinstance(value, str) and value.islower()
)
TP = TopicPartition("orders.dlq", 0)
LONGEST_WAY = 20
datas = st.one_of(st.none(), st.binary(max_size=20), st.sampled_from([b"0", b"-1", b"9" * 30, b"\xff", b"orders"]))
names = st.one_of(st.text(max_size=8), st.sampled_from([*OUR_NAMES, *OF_REPLAYS, ""]))
headers = st.lists(st.tuples(names, datas), max_size=8)
foreign_headers = st.lists(st.tuples(names.filter(lambda name: name not in OF_REPLAYS), datas), max_size=8)
codes = st.sampled_from(["MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD", "UNREADABLE", "_ALL", ""])


class TouchyError(Exception):
    """An error with an arbitrary text."""

    def __init__(self, text: object) -> None:
        self.text = text

    def __str__(self) -> str:
        if isinstance(self.text, str):
            return self.text
        raise ValueError(self.text)


@given(record=st.builds(Record, datas, datas, headers, st.one_of(st.none(), st.integers(-1, 2**63 - 1))))
def test_a_record_of_any_kind_is_read_as_a_letter_and_can_be_shown(record: Record) -> None:
    read = letter_of(TP, 7, record)

    assert read.error is not None
    assert read.why_not_replayable or read.source
    assert read.replayed().headers


@given(key=datas, value=datas, own=foreign_headers, text=st.one_of(st.none(), st.text()), offset=st.integers(0, 2**62))
@example(key=None, value=None, own=[("offset", b"1"), ("offset", None)], text="\ud800", offset=0)
def test_a_letter_gives_its_message_back_whatever_that_holds(
    key: bytes | None, value: bytes | None, own: Headers, text: str | None, offset: int
) -> None:
    item = work_item(value, key=key, topic="orders", partition=3, offset=offset, headers=own)

    read = letter_of(TP, 7, record_of(Letter(item, "orders.dlq", error_reason(TouchyError(text)), 3, LetterForm.FULL)))

    assert read.source == ("orders", 3, offset)
    assert (read.key, read.value, read.headers) == (key, value, own)
    assert read.attempts == 3


@given(key=datas, value=datas, own=headers, refusals=st.lists(codes, max_size=LONGEST_WAY))
def test_a_letter_that_is_refused_for_any_reason_names_its_source_and_comes_to_an_end(
    key: bytes | None, value: bytes | None, own: Headers, refusals: list[str]
) -> None:
    item = work_item(value, key=key, topic="orders", partition=3, offset=11, headers=own)
    letter = Letter(item, "orders.dlq", "ValueError: no", 3, LetterForm.FULL)

    steps = 0
    for code in refusals:
        if letter.can_shrink(code):
            letter.shrink(code)
            steps += 1
        read = letter_of(TP, 7, record_of(letter))
        assert read.source == ("orders", 3, 11)
        assert read.reason == "ValueError: no"

    assert steps <= len(LetterForm) + 1
