"""Records are sent in the order in which workers returned; one that is refused alone comes back as refused."""

from __future__ import annotations

from pyrallel_consumer.control_plane.output.record_queue import RecordQueue
from pyrallel_consumer.control_plane.output.unwritten import Outgoing, Unwritten
from pyrallel_consumer.record import Record
from pyrallel_consumer.testing import work_item


def outgoing(sequence: int, topic: str = "out") -> Outgoing:
    record = Record(topic, b"v")
    return Outgoing(Unwritten(work_item(offset=sequence), (record,), 1), record, sequence)


def queue_of(*records: Outgoing) -> RecordQueue:
    queue = RecordQueue()
    for record in records:
        queue.add(record)  # type: ignore[arg-type]  # a queue of letters that takes records
    return queue


def taken(queue: RecordQueue, now: float = 0.0) -> list[int]:
    return [record.sequence for record in queue.take(now, lambda _: True)]


def test_records_go_out_in_their_order() -> None:
    assert taken(queue_of(*[outgoing(number) for number in range(5)])) == [0, 1, 2, 3, 4]


def test_what_comes_back_goes_out_again_before_what_follows() -> None:
    records = [outgoing(number) for number in range(4)]
    queue = queue_of(*records)
    taken(queue)
    queue.add(outgoing(9))  # type: ignore[arg-type]
    for record in (records[2], records[0], records[1]):
        queue.failed(record, "_FATAL", "", 0.0)
    queue.acknowledged(records[3])  # type: ignore[arg-type]

    assert taken(queue, 1.0) == [0]
    queue.acknowledged(records[0])  # type: ignore[arg-type]
    assert taken(queue, 1.0) == [1, 2, 9]


def test_of_a_refused_batch_each_goes_out_alone_and_only_one_refused_alone_is_refused() -> None:
    records = [outgoing(number) for number in range(3)]
    queue = queue_of(*records)
    taken(queue)
    for record in records:
        queue.failed(record, "MSG_SIZE_TOO_LARGE", "too large", 0.0)

    assert taken(queue) == [0]
    queue.acknowledged(records[0])  # type: ignore[arg-type]
    assert taken(queue) == [1]
    queue.failed(records[1], "MSG_SIZE_TOO_LARGE", "too large", 0.0)

    assert queue.refused == [(records[1], "MSG_SIZE_TOO_LARGE", "too large")]
    assert taken(queue) == [2]


def test_a_topic_that_fails_keeps_no_other_back() -> None:
    failing = outgoing(0, "gone")
    queue = queue_of(failing)
    taken(queue)
    queue.failed(failing, "_MSG_TIMED_OUT", "", 0.0)

    queue.add(outgoing(1))  # type: ignore[arg-type]

    assert taken(queue) == [1]
    assert queue.is_failing


def test_what_is_not_wanted_any_more_leaves() -> None:
    record = outgoing(0)
    queue = queue_of(record)
    taken(queue)
    queue.failed(record, "_FATAL", "", 0.0, is_wanted=False)

    assert taken(queue, 9.0) == []


def test_records_of_a_topic_that_is_not_there_are_refused_at_once() -> None:
    records = [outgoing(number, "gone") for number in range(2)]
    queue = queue_of(*records)
    taken(queue)

    for record in records:
        queue.failed(record, "_UNKNOWN_TOPIC", "no such topic", 0.0)

    assert [record.sequence for record, _, _ in queue.refused] == [0, 1]
    assert taken(queue) == []
