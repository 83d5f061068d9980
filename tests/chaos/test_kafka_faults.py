"""What the run reads out of a broker's logs."""

from __future__ import annotations

import struct

from tests.chaos.kafka_faults import apart, coordinators_active_too_early, without_marker
from tests.chaos.log_batches import Batch, batches
from tests.kafka.told_records import Written

LINE = (
    "2026-11-30T04:40:04.925147080Z group-coordinator-event-processor-0 ERROR [GroupCoordinator id=1] The state "
    "machine of the coordinator __consumer_offsets-0 is out of sync with the underlying log. The last written offset "
    "returned is 19214 while the coordinator expected 3. The coordinator will be reloaded in order to re-synchronize "
    "the state machine."
)


def test_a_coordinator_that_was_active_before_it_had_loaded_its_log_is_named() -> None:
    other = "2026-11-30T04:40:59.05Z quorum-controller ERROR [QuorumController id=1] took 2791 ms."

    [fault] = coordinators_active_too_early([other, LINE, "\tat org.apache.kafka.Some.line(Some.java:1)"])

    assert fault == (
        "2026-11-30T04:40:04.925147080Z: the coordinator of __consumer_offsets-0 was active before it had loaded its "
        "log: it wrote offset 19214 for 3"
    )


def test_a_log_without_it_names_nothing() -> None:
    assert coordinators_active_too_early(["", "WARN [QuorumController id=1] Performing controller activation."]) == []


def written(*offsets: int, by: int = 1, epoch: int = 0) -> Batch:
    return Batch(range(offsets[0], offsets[-1] + 1), by, epoch, is_transactional=True, is_marker=False)


def marker(offset: int, by: int = 1, epoch: int = 0) -> Batch:
    return Batch(range(offset, offset + 1), by, epoch, is_transactional=True, is_marker=True)


def test_records_of_a_transaction_that_the_next_epoch_of_its_producer_finds_open_have_no_marker() -> None:
    log = [
        written(0, 2),
        marker(3),
        written(4, 5),
        written(6, by=2),
        written(7, 8),
        written(9, 11, epoch=2),
        marker(12),
    ]

    assert without_marker(log) == {4, 5, 7, 8}


def test_transactions_that_ended_and_one_that_is_open_lack_no_marker() -> None:
    fenced = marker(5, epoch=1)  # The coordinator ends it under a new epoch.

    assert without_marker([written(0, 4), fenced, written(6, 7, epoch=2), written(8, epoch=2)]) == set()


def test_of_two_records_the_one_without_a_marker_is_kafkas_and_a_single_one_is_a_members() -> None:
    def record(source_offset: int, offset: int) -> Written:
        return Written(("work", 0, source_offset), b"key", 1, offset)

    first, alone, second = record(7, 4), record(8, 5), record(7, 9)

    assert apart([first, alone, second], {(1, 4), (1, 5)}) == ([alone, second], [first])


def test_a_segment_is_read_up_to_its_last_whole_batch() -> None:
    data, control = 0x10, 0x30
    segment = b"".join(
        struct.pack(">qiibIhiqqqhii", first, 49 + 3, 0, 2, 0, attributes, last, 0, 0, 7, epoch, 0, 1) + b"abc"
        for first, last, attributes, epoch in [(0, 2, data, 0), (3, 0, control, 1), (4, 0, 0, 0)]
    )

    assert [*batches(segment[:-1])] == [written(0, 2, by=7), marker(3, by=7, epoch=1)]
    assert [*batches(segment)][-1] == Batch(range(4, 5), 7, 0, is_transactional=False, is_marker=False)
