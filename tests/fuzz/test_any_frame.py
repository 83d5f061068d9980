"""Frames between the engine and its processes: arbitrary bytes arrive unchanged, wherever they are cut."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.execution_plane.processes import frames

datas = st.one_of(st.none(), st.binary(max_size=30))
headers = st.one_of(st.none(), st.lists(st.tuples(st.text(max_size=5), datas), max_size=4))
rows = st.tuples(
    st.text(max_size=5), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1), datas, datas, headers, st.integers()
)


@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_bytes_that_are_no_frames_are_read_without_an_error_and_none_is_made_up(data: bytes, cuts: list[int]) -> None:
    reader, read, at = frames.FrameReader(), bytearray(), 0
    for cut in [*cuts, len(data)]:
        for kind, body in reader.feed(data[at : at + cut]):
            read += frames.frame(kind, body)
        at += cut

    assert data.startswith(read)


@given(
    first=st.integers(0, 2**40),
    generation=st.integers(0, 2**31),
    failures=st.integers(0, 1000),
    sent=st.lists(st.tuples(st.integers(0, 99), rows), max_size=6),
)
def test_items_of_any_content_arrive_as_they_were_sent(
    first: int, generation: int, failures: int, sent: list[tuple[int, tuple[object, ...]]]
) -> None:
    runs = [run for run, _ in sent]
    body = frames.packed_items(first, generation, failures, runs, [row for _, row in sent])

    [(kind, received)] = frames.FrameReader().feed(frames.frame(frames.ITEMS, body))

    assert kind == frames.ITEMS
    assert pickle.loads(received) == (first, generation, failures, runs, [row for _, row in sent])  # noqa: S301 - ours


@given(done=st.integers(0, 2**64 - 1), seconds=st.floats(allow_nan=False), last=st.integers(0, 2**64 - 1))
def test_what_a_process_tells_of_its_items_arrives_whatever_the_numbers(done: int, seconds: float, last: int) -> None:
    assert frames.parsed_progress(frames.progress(done, seconds)) == (done, seconds)
    assert frames.parsed_skipped(frames.skipped(done, last)) == (done, last)
