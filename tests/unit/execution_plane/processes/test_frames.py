"""Frames between engine and processes, cut anywhere by the socket; items and errors within them."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.dto import packed_item, unpacked_item
from pyrallel_consumer.errors import DoNotRetry, RetryLater
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.remote_error import packed_error, restored_error
from pyrallel_consumer.testing.messages import work_item


@given(
    sent=st.lists(st.tuples(st.integers(1, 8), st.binary(max_size=40)), max_size=12),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=60),
)
def test_frames_come_out_as_they_went_in_wherever_the_bytes_are_cut(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(frames.frame(kind, body) for kind, body in sent)
    reader, at = frames.FrameReader(), 0
    read: list[tuple[int, bytes]] = []
    for number in range(len(data)):
        step = cuts[number % len(cuts)]
        read += reader.feed(data[at : at + step])
        at += step
    assert read == sent


def test_a_frame_that_is_cut_short_is_not_told() -> None:
    reader = frames.FrameReader()
    assert list(reader.feed(frames.frame(frames.LOG, b"all")[:-1])) == []


def test_an_item_arrives_with_all_that_a_worker_may_ask_of_it() -> None:
    sent = work_item(
        b"value", key=b"key", topic="t", partition=3, offset=7, headers=[("h", None)], timestamp=5, epoch=9, attempt=2
    )
    travelled = pickle.loads(pickle.dumps(packed_item(sent)))  # noqa: S301 -- our own
    got = unpacked_item(travelled)
    for name in ("topic", "partition", "offset", "key", "payload", "value", "headers", "timestamp", "epoch", "attempt"):
        assert getattr(got, name) == getattr(sent, name), name
    assert (got.tp, got.id, len(got.message), got.message.leader_epoch()) == (sent.tp, sent.id, 5, None)


def test_tombstones_and_missing_keys_stay_what_they_are() -> None:
    got = unpacked_item(packed_item(work_item(None)))
    assert (got.key, got.payload, got.headers, got.timestamp, len(got.message)) == (None, None, [], None, 0)


class LocalError(Exception):
    """Cannot be restored: it wants two arguments and remembers one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


class LaterLocal(RetryLater):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(70, one + two)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("no")


class NeverError(DoNotRetry, LocalError):
    """As ``LocalError``."""


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not a word")

    def __reduce__(self) -> tuple[object, ...]:
        raise RuntimeError("not a byte")


def through(error: BaseException) -> BaseException:
    return restored_error(packed_error(error))


def test_errors_keep_their_type_their_cause_and_their_trace() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as outer:
        error = through(outer)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, KeyError)
    assert "raise ValueError" in error.__notes__[0]


def test_retry_later_keeps_its_delay_and_its_words() -> None:
    error = through(RetryLater(250, "busy"))
    assert isinstance(error, RetryLater)
    assert (error.delay_ms, str(error)) == (250, "busy")


def test_what_cannot_be_restored_still_steers_the_retries() -> None:
    later, never = through(LaterLocal("x", "y")), through(NeverError("x", "y"))
    assert isinstance(later, RetryLater)
    assert later.delay_ms == 70
    assert isinstance(never, DoNotRetry)
    assert "NeverError: xy" in str(never)


def test_an_error_that_has_no_words_is_told_by_its_name() -> None:
    assert "Silent" in str(through(SilentError()))
