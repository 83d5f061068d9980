"""Where reading begins, for every answer that the broker may give about a newly assigned partition."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.commit_encoder import encode
from pyrallel_consumer.control_plane.offset_map import OffsetMap
from pyrallel_consumer.control_plane.start_offset import NoOffsetError, Reset, Start, needs_watermarks, resolve
from pyrallel_consumer.dto import TopicPartition

TP = TopicPartition("orders", 3)
MAP = OffsetMap(10, 15, (10, 12))


@pytest.mark.parametrize(("reset", "expected"), [("earliest", 4), ("latest", 20)])
def test_a_group_without_an_offset_begins_at_the_end_it_asked_for_and_commits_that(reset: Reset, expected: int) -> None:
    start = resolve(TP, None, None, low=4, high=20, reset=reset)

    assert start == Start(TP, expected, OffsetMap(expected, expected), must_commit=True)


def test_a_group_without_an_offset_that_must_have_one_is_a_broker_error_that_says_what_to_do() -> None:
    with pytest.raises(NoOffsetError, match=r"no committed offset for orders\[3\].*set auto_offset_reset") as raised:
        resolve(TP, None, None, low=4, high=20, reset="error")

    assert raised.value.code == "_AUTO_OFFSET_RESET"
    assert not raised.value.retriable


@pytest.mark.parametrize("metadata", [None, ""])
@pytest.mark.parametrize("committed", [0, 10])
def test_a_committed_offset_without_a_map_is_the_start(metadata: str | None, committed: int) -> None:
    start = resolve(TP, committed, metadata, low=0, high=0, reset="error")

    assert start == Start(TP, committed, OffsetMap(committed, committed))


@pytest.mark.parametrize("high", [15, 16])
def test_a_committed_map_is_restored_up_to_the_end_of_the_log(high: int) -> None:
    start = resolve(TP, 10, encode(MAP, TP), low=0, high=high, reset="latest")

    assert start == Start(TP, 10, MAP)


def test_a_map_that_reaches_past_the_end_of_the_log_is_ignored_with_a_warning() -> None:
    start = resolve(TP, 10, encode(MAP, TP), low=0, high=14, reset="latest")

    assert (start.offset, start.restored, start.must_commit) == (10, OffsetMap(10, 10), True)
    assert start.warning is not None
    assert "orders[3]" in start.warning
    assert "past the end of the log at 14" in start.warning


@pytest.mark.parametrize(
    "metadata", ["somebody else's notes", encode(MAP, TP)[:-2], encode(MAP, TP._replace(topic="x"))]
)
def test_metadata_that_is_no_map_for_this_place_is_ignored_with_a_warning(metadata: str) -> None:
    start = resolve(TP, 10, metadata, low=0, high=20, reset="latest")

    assert (start.offset, start.restored, start.must_commit) == (10, OffsetMap(10, 10), False)
    assert start.warning is not None
    assert start.warning.startswith("commit metadata of orders[3] is ignored: ")


@pytest.mark.parametrize(
    ("committed", "metadata", "needed"),
    [(None, None, True), (0, None, False), (7, "", False), (7, "x", True), (None, "x", True)],
)
def test_the_ends_of_the_log_are_asked_for_only_where_they_decide(
    committed: int | None, metadata: str | None, needed: bool
) -> None:
    assert needs_watermarks(committed, metadata) is needed
