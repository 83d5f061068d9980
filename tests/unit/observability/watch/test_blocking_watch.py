"""Offsets that keep a commit back for long are named once each, with their place, and not thousands at a time."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from pyrallel_consumer.dto import BlockedBy, PartitionSnapshot, TopicPartition
from pyrallel_consumer.observability.watch.blocking_watch import MOST_NAMED, NAMED_WITHIN_SECONDS, BlockingWatch
from tests.unit.control_plane.builders import manager_of, picture_of

WARN_SECONDS = 5.0
PLACE = ("pyrallel_topic", "pyrallel_partition", "pyrallel_offset", "pyrallel_epoch")


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
    assert [record.__dict__[name] for name in PLACE] == ["orders", 0, 7, 3]


def test_the_next_offset_and_one_that_blocks_again_are_named_anew(caplog: pytest.LogCaptureFixture) -> None:
    watch = BlockingWatch(WARN_SECONDS)
    for now, partitions in enumerate(([blocked(offset=7)], [blocked(offset=9)], [], [blocked(offset=9)])):
        watch.look(partitions, float(now))
    assert [record.__dict__["pyrallel_offset"] for record in caplog.records] == [7, 9, 9]


def test_when_all_partitions_block_some_are_named_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    watch = BlockingWatch(WARN_SECONDS)
    many = [blocked(number) for number in range(100)]
    watch.look(many, 0.0)
    assert len(caplog.records) == MOST_NAMED
    watch.look([blocked(number, offset=8) for number in range(100)], NAMED_WITHIN_SECONDS)
    assert len(caplog.records) == 2 * MOST_NAMED
    assert f"(and {100 - MOST_NAMED} more offsets since this was last told)" in caplog.records[MOST_NAMED].getMessage()


@pytest.mark.parametrize(
    ("blocked_by", "why"),
    [
        (BlockedBy.RUNNING, "its worker runs: is it slow or stuck?"),
        (BlockedBy.RETRY, "its worker failed, and it waits for its next attempt"),
        (BlockedBy.HELD, "its last attempt failed: it waits for its dead letter"),
        (BlockedBy.EARLIER_ASSIGNMENT, "an attempt of its key that began before the last rebalance still runs"),
    ],
)
def test_the_warning_says_what_the_offset_waits_for(
    blocked_by: BlockedBy, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    BlockingWatch(WARN_SECONDS).look([replace(blocked(), blocked_by=blocked_by)], 0.0)
    [record] = caplog.records
    assert why in record.getMessage()


def test_partitions_that_merely_wait_for_a_slot_are_told_together_and_no_worker_is_suspected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = BlockingWatch(WARN_SECONDS)
    waiting = [replace(blocked(number, seconds=6.0 + number), blocked_by=BlockedBy.SLOT) for number in range(3)]
    for now in range(3):
        watch.look(waiting, float(now))
    [record] = caplog.records
    text = "the next offsets of 3 partitions have waited for a slot for 5.0 s or more, that of orders[2] for 8.0 s"
    assert text in record.getMessage()
    assert "slow or stuck" not in record.getMessage()
    watch.look([], 3.0)
    watch.look(waiting, 4.0)
    assert len(caplog.records) == 2


def test_slots_are_not_blamed_while_the_consumer_itself_delays_starts(caplog: pytest.LogCaptureFixture) -> None:
    waiting = [replace(blocked(seconds=9.0), blocked_by=BlockedBy.SLOT)]
    BlockingWatch(WARN_SECONDS).look(waiting, 0.0, are_slots_awaited=False)
    assert not caplog.records
