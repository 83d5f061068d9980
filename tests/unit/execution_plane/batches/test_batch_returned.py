"""Records of a batch: each belongs to one message, and a value that is not a valid entry is refused with a sentence."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from pyrallel_consumer import BatchFailed, ExecutionMode, Record, RecordError, WorkItem
from pyrallel_consumer.errors import DecodeError
from pyrallel_consumer.execution_plane.batches.batch import Batch
from pyrallel_consumer.execution_plane.batches.call import batch_call
from pyrallel_consumer.execution_plane.worker.deserializers import deserializers_of
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from pyrallel_consumer.execution_plane.worker.returned import RecordMaker, returns_records
from pyrallel_consumer.ingress.serialization import serialization_context
from pyrallel_consumer.record import BatchRecords, holds_record
from pyrallel_consumer.testing import work_item

MAKER = RecordMaker(None, serialization_context)
EXACTLY = "one entry for each message"


def batch_of(*values: bytes | None) -> Batch:
    items = [work_item(value, offset=offset) for offset, value in enumerate(values)]
    return Batch(items, items, [])


def answer(item: WorkItem) -> Record:
    return Record("out", b"%d" % item.offset)


def called(worker: Callable[..., Any], *values: bytes | None, deserializers: Any = None) -> Any:
    return batch_call(worker, ExecutionMode.THREAD, deserializers, MAKER)(batch_of(*(values or (b"0", b"1", b"2"))))


def offsets(told: BatchRecords) -> dict[int, list[bytes]]:
    return {place: [record.value for record in records] for place, records in told.by_place.items()}


def a_list(items: list[WorkItem]) -> list[Any]:
    return [answer(items[0]), None, [answer(items[2]), answer(items[2])]]


def a_mapping(items: list[WorkItem]) -> dict[WorkItem, Any]:
    return {pickle.loads(pickle.dumps(items[2])): [answer(items[2])] * 2, items[0]: answer(items[0])}  # noqa: S301 -- our own


def a_generator(items: list[WorkItem]) -> Iterator[Any]:
    yield items[2], answer(items[2])
    yield items[0], answer(items[0])
    yield items[2], answer(items[2])


@pytest.mark.parametrize("worker", [a_list, a_mapping, a_generator])
def test_each_record_belongs_to_the_message_that_the_worker_names(worker: Callable[..., Any]) -> None:
    told = called(worker)
    assert offsets(told) == {0: [b"0"], 2: [b"2", b"2"]}
    assert told.failures is None
    assert holds_record(told)


async def test_an_async_generator_yields_pairs_too() -> None:
    async def worker(items: list[WorkItem]) -> AsyncIterator[Any]:
        for item in items:
            yield item, answer(item)

    call = batch_call(worker, ExecutionMode.ASYNC, None, MAKER)
    told = await call(batch_of(b"0", b"1"))
    assert offsets(told) == {0: [b"0"], 1: [b"1"]}


@pytest.mark.parametrize("nothing", [None, [], {}, [None, [], ()]])
def test_no_records_are_no_records(nothing: Any) -> None:
    assert called(lambda _: nothing) is None


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Record("out"), "returned Record for 3"),
        ([Record("out")], "returned 1 entries for 3"),
        ("text", "returned str"),
        ({"a": Record("out")}, "named str"),
        ({work_item(offset=99): Record("out")}, "not in the batch"),
    ],
)
def test_records_of_nobody_knows_which_message_are_refused(result: Any, said: str) -> None:
    with pytest.raises(RecordError, match=said) as raised:
        called(lambda _: result)
    assert EXACTLY in str(raised.value) or "not in the batch" in said


def test_a_generator_that_yields_records_without_their_messages_is_refused() -> None:
    def worker(items: list[WorkItem]) -> Iterator[Record]:
        yield answer(items[0])

    with pytest.raises(RecordError, match="yielded Record"):
        called(worker)


def test_an_entry_that_is_an_error_or_no_record_fails_its_message_alone() -> None:
    told = called(lambda items: [answer(items[0]), ValueError("one"), Record("out", object())])
    assert offsets(told) == {0: [b"0"]}
    assert {place: type(error) for place, error in told.failures.errors.items()} == {1: ValueError, 2: RecordError}
    restored = pickle.loads(pickle.dumps(told))  # noqa: S301 -- our own
    assert offsets(restored) == {0: [b"0"]}
    assert set(restored.failures.errors) == {1, 2}


def test_where_messages_fail_and_none_has_records_they_are_named() -> None:
    with pytest.raises(NamedFailures) as raised:
        called(lambda items: {items[1]: ValueError()})
    assert set(raised.value.errors) == {1}


def test_a_message_that_fails_has_no_records() -> None:
    def worker(items: list[WorkItem]) -> Iterator[Any]:
        yield items[0], answer(items[0])
        yield items[0], ValueError("after all")
        yield items[1], answer(items[1])

    told = called(worker)
    assert offsets(told) == {1: [b"1"]}
    assert set(told.failures.errors) == {0}


def test_what_a_generator_yielded_before_it_named_failures_is_written() -> None:
    def worker(items: list[WorkItem]) -> Iterator[Any]:
        for item in items[:2]:
            yield item, answer(item)
        raise BatchFailed({items[1]: ValueError()})

    told = called(worker)
    assert offsets(told) == {0: [b"0"]}
    assert set(told.failures.errors) == {1}


def test_places_are_those_of_the_whole_batch_where_some_cannot_be_decoded() -> None:
    deserializers = deserializers_of(
        key_type=None, key_deserializer=None, value_type=int, value_deserializer=None, context_of=serialization_context
    )
    told = called(lambda items: [answer(item) for item in items], b"no", b"1", b"2", deserializers=deserializers)
    assert offsets(told) == {1: [b"1"], 2: [b"2"]}
    assert [type(error) for error in told.failures.errors.values()] == [DecodeError]


def test_annotations_of_batches_tell_of_records() -> None:
    async def listed(items: list[WorkItem]) -> list[Record | None]: ...  # type: ignore[empty-body]
    async def mapped(items: list[WorkItem]) -> dict[WorkItem, Record]: ...  # type: ignore[empty-body]
    async def silent(items: list[WorkItem]) -> None: ...

    assert [returns_records(each) for each in (listed, mapped, silent)] == [True, True, False]


@pytest.mark.parametrize("result", [{1: Record("out")}, {1: [Record("out")]}, [Record("out")]])
def test_records_that_nobody_would_write_are_noticed(result: Any) -> None:
    assert holds_record(result)
    assert not holds_record({1: None})
    assert not holds_record({})
