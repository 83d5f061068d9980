"""Where reading begins, for every answer that the broker may give about a newly assigned partition."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.start_offset import (
    Committed,
    LogRange,
    NoOffsetError,
    Position,
    Reset,
    Start,
    believe,
    is_believable,
    resolve,
    topic_made_anew,
)

TP = TopicPartition("orders", 3)
MAP = OffsetMap(10, 15, (10, 12), leader_epoch=7)
EVERY_RESET: tuple[Reset, ...] = ("earliest", "latest", "error")


def log(low: int, high: int, latest: int | None = None) -> LogRange:
    return LogRange(Position(low, 1), Position(high, 9), Position(high if latest is None else latest, 8))


@pytest.mark.parametrize(("reset", "expected", "leader_epoch"), [("earliest", 4, 1), ("latest", 18, 8)])
def test_a_group_without_an_offset_begins_at_the_end_it_asked_for_and_commits_that(
    reset: Reset, expected: int, leader_epoch: int
) -> None:
    start = resolve(TP, None, log(4, 20, latest=18), reset)

    nothing = OffsetMap(expected, expected)
    assert start == Start(TP, expected, nothing, must_commit=True, leader_epoch=leader_epoch)


def test_a_group_without_an_offset_that_must_have_one_is_a_broker_error_that_says_what_to_do() -> None:
    with pytest.raises(NoOffsetError, match=r"no committed offset for orders\[3\].*set auto_offset_reset") as raised:
        resolve(TP, None, log(4, 20), "error")

    assert raised.value.code == "_AUTO_OFFSET_RESET"
    assert not raised.value.retriable


@pytest.mark.parametrize("reset", EVERY_RESET)
@pytest.mark.parametrize("metadata", [None, ""])
@pytest.mark.parametrize("committed", [5, 10, 20])
def test_a_committed_offset_that_the_log_holds_is_the_start(metadata: str | None, committed: int, reset: Reset) -> None:
    start = resolve(TP, Committed(committed, metadata, 3), log(5, 20), reset)

    assert start == Start(TP, committed, OffsetMap(committed, committed), leader_epoch=3)


@pytest.mark.parametrize("high", [15, 16])
def test_a_committed_map_is_restored_up_to_the_end_of_the_log(high: int) -> None:
    start = resolve(TP, Committed(10, encode(MAP, TP), 3), log(0, high), "latest")

    assert start == Start(TP, 10, MAP, leader_epoch=3)


def test_a_map_reaches_into_an_open_transaction_where_its_reader_did() -> None:
    start = resolve(TP, Committed(10, encode(MAP, TP)), log(0, 15, latest=11), "latest")

    assert start == Start(TP, 10, MAP)


def test_a_map_that_reaches_past_the_end_of_the_log_is_ignored_with_a_warning() -> None:
    start = resolve(TP, Committed(10, encode(MAP, TP), 3), log(0, 14), "latest")

    assert (start.offset, start.restored, start.must_commit) == (10, OffsetMap(10, 10), True)
    assert start.leader_epoch == 3
    assert start.warning is not None
    assert "orders[3]" in start.warning
    assert "past the end of the log at 14" in start.warning


@pytest.mark.parametrize(
    "metadata", ["somebody else's notes", encode(MAP, TP)[:-2], encode(MAP, TP._replace(topic="x"))]
)
def test_metadata_that_is_no_map_for_this_place_is_ignored_with_a_warning(metadata: str) -> None:
    start = resolve(TP, Committed(10, metadata), log(0, 20), "latest")

    assert (start.offset, start.restored, start.must_commit) == (10, OffsetMap(10, 10), False)
    assert start.warning is not None
    assert start.warning.startswith("commit metadata of orders[3] is ignored: ")


@pytest.mark.parametrize(
    ("reset", "low", "high", "expected"),
    [
        ("earliest", 11, 30, 11),
        ("earliest", 30, 30, 30),
        ("latest", 11, 30, 30),
        ("latest", 30, 30, 30),
        ("earliest", 2, 9, 2),
        ("latest", 2, 9, 9),
    ],
)
def test_a_group_whose_offset_the_log_does_not_hold_begins_and_commits_as_one_without(
    reset: Reset, low: int, high: int, expected: int
) -> None:
    start = resolve(TP, Committed(10, "", 3), log(low, high), reset)

    assert (start.offset, start.restored, start.must_commit) == (expected, OffsetMap(expected, expected), True)
    assert start.leader_epoch == (1 if reset == "earliest" else 8)
    assert start.warning is not None
    assert "committed offset 10" in start.warning
    assert f"begins at {expected}" in start.warning


@pytest.mark.parametrize(("low", "high"), [(11, 30), (2, 9)])
def test_an_offset_that_the_log_does_not_hold_is_an_error_where_no_reset_is_allowed(low: int, high: int) -> None:
    with pytest.raises(NoOffsetError, match=f"committed offset 10: it holds {low} to {high}") as raised:
        resolve(TP, Committed(10, ""), log(low, high), "error")

    assert raised.value.code == "_AUTO_OFFSET_RESET"
    assert str(raised.value).endswith(
        "auto_offset_reset is 'none': commit another offset for the group, or set auto_offset_reset to 'earliest' or"
        " 'latest'"
    )


@pytest.mark.parametrize(
    ("low", "rest"),
    [
        (11, OffsetMap(11, 15, (12,), leader_epoch=7)),
        (13, OffsetMap(13, 15, (), leader_epoch=7)),
        (15, OffsetMap(15, 15, (), leader_epoch=7)),
        (17, OffsetMap(17, 17, (), leader_epoch=7)),
    ],
)
def test_what_retention_left_of_a_map_is_restored_and_committed(low: int, rest: OffsetMap) -> None:
    start = resolve(TP, Committed(10, encode(MAP, TP)), log(low, 30), "earliest")

    assert (start.offset, start.restored, start.must_commit) == (low, rest, True)


def test_nothing_is_left_of_a_map_where_reading_begins_at_the_end() -> None:
    start = resolve(TP, Committed(10, encode(MAP, TP)), log(11, 30), "latest")

    assert start.restored == OffsetMap(30, 30)


def test_a_map_of_a_log_that_was_cut_below_its_offset_is_forgotten() -> None:
    start = resolve(TP, Committed(10, encode(MAP, TP)), log(0, 9), "earliest")

    assert start.restored == OffsetMap(0, 0)


def test_a_topic_made_anew_is_a_broker_error_that_says_what_to_do() -> None:
    error = topic_made_anew(TP)

    assert error.code == "_AUTO_OFFSET_RESET"
    assert "topic of orders[3] was deleted and created again" in str(error)
    assert str(error).endswith(
        "auto_offset_reset is 'none': commit an offset of the new log for the group, or set auto_offset_reset to"
        " 'earliest' or 'latest'"
    )


def test_of_a_log_that_nobody_can_tell_about_a_map_with_the_epoch_of_its_records_is_believed() -> None:
    start = believe(TP, Committed(10, encode(MAP, TP), 3))

    assert (start.offset, start.restored, start.must_commit, start.leader_epoch) == (10, MAP, False, 3)
    assert start.warning is not None
    assert "the leader of orders[3] is away" in start.warning


@pytest.mark.parametrize("metadata", [None, "", "somebody else's", encode(OffsetMap(10, 15, (10, 12)), TP)])
def test_of_such_a_log_no_other_map_is_believed(metadata: str | None) -> None:
    start = believe(TP, Committed(10, metadata, 3))

    assert (start.offset, start.restored) == (10, OffsetMap(10, 10))
    assert start.warning is not None


def test_a_group_without_an_offset_begins_such_a_log_at_its_beginning_and_commits_nothing() -> None:
    start = believe(TP, None)

    assert (start.offset, start.restored, start.must_commit) == (0, OffsetMap(0, 0), False)


@pytest.mark.parametrize("reset", EVERY_RESET)
def test_the_end_of_a_log_must_be_known_where_a_group_without_an_offset_begins_there(reset: Reset) -> None:
    assert is_believable(None, reset) == (reset == "earliest")
    assert is_believable(Committed(10), reset)
