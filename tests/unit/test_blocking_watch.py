"""Offsets that keep a commit back for long are named once each, with their place, and not thousands at a time."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from pyrallel_consumer.dto import PartitionSnapshot, TopicPartition
from pyrallel_consumer.observability.blocking_watch import MOST_NAMED, NAMED_WITHIN_SECONDS, BlockingWatch
from tests.unit.control_plane.builders import manager_of, picture_of

WARN_SECONDS = 5.0


def blocked(number: int = 0, offset: int = 7, seconds: float = WARN_SECONDS) -> PartitionSnapshot:
    tp = TopicPartition("orders", number)
    return replace(picture_of(manager_of()), tp=tp, epoch=3, blocking_offset=offset, blocking_seconds=seconds)


def test_an_offset_is_named_once_and_its_place_can_be_searched_for(caplog: pytest.LogCaptureFixture) -> None:
    watch = BlockingWatch(WARN_SECONDS)
    for now in range(3):
        watch.look([blocked(), blocked(1, seconds=WARN_SECONDS - 0.1)], float(now))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "offset 7 of orders[0]" in record.getMessage()
    assert [record.__dict__[name] for name in ("topic", "partition", "offset", "epoch")] == ["orders", 0, 7, 3]


def test_the_next_offset_and_one_that_blocks_again_are_named_anew(caplog: pytest.LogCaptureFixture) -> None:
    watch = BlockingWatch(WARN_SECONDS)
    for now, partitions in enumerate(([blocked(offset=7)], [blocked(offset=9)], [], [blocked(offset=9)])):
        watch.look(partitions, float(now))
    assert [record.__dict__["offset"] for record in caplog.records] == [7, 9, 9]


def test_when_all_partitions_block_some_are_named_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    watch = BlockingWatch(WARN_SECONDS)
    many = [blocked(number) for number in range(100)]
    watch.look(many, 0.0)
    assert len(caplog.records) == MOST_NAMED
    watch.look([blocked(number, offset=8) for number in range(100)], NAMED_WITHIN_SECONDS)
    assert len(caplog.records) == 2 * MOST_NAMED
    assert f"(and {100 - MOST_NAMED} more offsets since this was last told)" in caplog.records[MOST_NAMED].getMessage()
