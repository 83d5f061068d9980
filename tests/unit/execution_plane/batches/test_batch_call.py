"""How a batch worker is called: failures by name, messages that cannot be decoded, and pickling."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pyrallel_consumer.dto import ExecutionMode, WorkItem, unpacked_item
from pyrallel_consumer.errors import BatchFailed, DecodeError, DoNotRetry, ExecutionError, RetryLater
from pyrallel_consumer.execution_plane.batches.batch import Batch, items_of, orders_of, packed_batch
from pyrallel_consumer.execution_plane.batches.call import batch_call
from pyrallel_consumer.execution_plane.worker.deserializers import deserializers_of
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from pyrallel_consumer.ingress.serialization import serialization_context
from pyrallel_consumer.testing import work_item
from pyrallel_consumer.testing.messages import PlainMessage


class Key:
    epoch = 1
    is_ordered = True


def batch_of(*items: WorkItem) -> Batch:
    return Batch(items, items, [])


def items(count: int) -> list[WorkItem]:
    return [work_item(b"7", offset=offset) for offset in range(count)]


def named_by(worker: Any, *given: WorkItem) -> dict[int, BaseException]:
    with pytest.raises(NamedFailures) as raised:
        batch_call(worker, ExecutionMode.THREAD)(batch_of(*given))
    return raised.value.errors


def test_a_worker_gets_a_list_of_its_own_and_returns() -> None:
    given = items(3)

    def worker(batch: list[WorkItem]) -> int:
        assert batch == given
        batch.clear()
        return 3

    batch = batch_of(*given)
    assert batch_call(worker, ExecutionMode.THREAD)(batch) == 3
    assert list(batch.items) == given


def test_named_messages_are_told_by_their_places_and_copies_are_the_same_messages() -> None:
    def worker(batch: list[WorkItem]) -> None:
        raise BatchFailed({batch[2]: ValueError("two"), pickle.loads(pickle.dumps(batch[0])): KeyError("zero")})  # noqa: S301 -- our own

    errors = named_by(worker, *items(3))
    assert {place: type(error) for place, error in errors.items()} == {2: ValueError, 0: KeyError}


@pytest.mark.parametrize("stranger", [work_item(offset=99), work_item(offset=1, epoch=2)])
def test_who_names_a_message_of_another_batch_has_said_nothing(stranger: WorkItem) -> None:
    def worker(batch: list[WorkItem]) -> None:
        raise BatchFailed({batch[0]: ValueError(), stranger: ValueError()})

    with pytest.raises(ExecutionError, match=r"names test-0-\d+ \(epoch \d\), which is not in the batch"):
        batch_call(worker, ExecutionMode.THREAD)(batch_of(*items(3)))


def test_names_that_were_taken_away_or_replaced_say_nothing() -> None:
    def none_named(batch: list[WorkItem]) -> None:
        failed = BatchFailed({batch[0]: ValueError()})
        failed.errors.clear()
        raise failed

    def nonsense(batch: list[WorkItem]) -> None:
        failed = BatchFailed({batch[0]: ValueError()})
        failed.errors = 7  # type: ignore[assignment]
        raise failed

    for worker, said in ((none_named, "names no message"), (nonsense, "cannot be read")):
        with pytest.raises(ExecutionError, match=said):
            batch_call(worker, ExecutionMode.THREAD)(batch_of(*items(2)))


@pytest.mark.parametrize(
    ("errors", "refusal"),
    [({}, "names no message"), ([1], "not list"), ({"a": "text"}, "no exception"), ({"a": ValueError}, "no exception")],
)
def test_names_that_are_none_are_refused_where_they_are_made(errors: Any, refusal: str) -> None:
    with pytest.raises((TypeError, ValueError), match=refusal):
        BatchFailed(errors)


def test_a_batch_travels_with_its_attempts_and_orders_and_so_do_the_names_of_those_that_failed() -> None:
    key = Key()
    ordered = [WorkItem(PlainMessage("orders", 0, offset, b"k", b"x"), offset, key, offset) for offset in (1, 2)]
    batch = batch_of(*ordered, work_item(offset=3))
    arrived = unpacked_item(pickle.loads(pickle.dumps(packed_batch(batch))))  # noqa: S301 -- our own
    assert [(item.offset, item.attempt, item.payload) for item in items_of(arrived)] == [
        (1, 1, b"x"),
        (2, 2, b"x"),
        (3, 1, None),
    ]
    assert orders_of(arrived) == orders_of(batch) == [0, 0, -1]

    def worker(given: list[WorkItem]) -> None:
        raise BatchFailed({given[0]: DoNotRetry("no"), given[1]: RetryLater(5, charge=False), given[2]: OddError()})

    with pytest.raises(NamedFailures) as raised:
        batch_call(worker, ExecutionMode.PROCESS)(arrived)
    told = pickle.loads(pickle.dumps(raised.value)).errors  # noqa: S301 -- our own
    assert type(told[0]) is DoNotRetry
    assert (type(told[1]), told[1].delay_ms, told[1].charge) == (RetryLater, 5, False)
    assert "OddError" in str(told[2])


class OddError(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("no")


def test_many_errors_with_long_texts_keep_their_names_and_lose_their_texts() -> None:
    errors = {place: DoNotRetry("x" * 9000) for place in range(500)}
    told = pickle.dumps(NamedFailures(errors))
    assert len(told) < 1_000_000
    restored = pickle.loads(told).errors  # noqa: S301 -- our own
    assert list(restored) == list(range(500))
    assert all(type(error) is DoNotRetry for error in restored.values())


# What cannot be decoded


def decoding(worker: Any, mode: ExecutionMode = ExecutionMode.THREAD) -> Any:
    deserializers = deserializers_of(
        key_type=None, key_deserializer=None, value_type=int, value_deserializer=None, context_of=serialization_context
    )
    return batch_call(worker, mode, deserializers)


def test_what_cannot_be_decoded_leaves_the_batch_with_what_stands_behind_it() -> None:
    key, other = Key(), Key()
    places = [(key, b"1"), (other, b"2"), (key, b"no number"), (key, b"4"), (other, b"5")]
    given = [WorkItem(PlainMessage("t", 0, at, b"k", value), at, origin) for at, (origin, value) in enumerate(places)]
    seen: list[Any] = []
    with pytest.raises(NamedFailures) as raised:
        decoding(lambda batch: seen.extend(item.value for item in batch))(batch_of(*given))
    assert seen == [1, 2, 5]
    assert {place: type(error) for place, error in raised.value.errors.items()} == {2: DecodeError}


def test_names_are_places_of_the_whole_batch_also_where_some_were_not_decoded() -> None:
    given = [work_item(value, offset=offset) for offset, value in enumerate([b"no", b"1", b"2"])]

    def worker(batch: list[WorkItem]) -> None:
        raise BatchFailed({batch[1]: ValueError()})

    with pytest.raises(NamedFailures) as raised:
        decoding(worker)(batch_of(*given))
    assert {place: type(error) for place, error in raised.value.errors.items()} == {0: DecodeError, 2: ValueError}


async def test_nobody_is_called_where_nothing_can_be_decoded() -> None:
    called: list[object] = []

    async def worker(batch: list[WorkItem]) -> None:
        called.append(batch)

    with pytest.raises(NamedFailures) as raised:
        await decoding(worker, ExecutionMode.ASYNC)(batch_of(work_item(b"no"), work_item(b"neither")))
    assert set(raised.value.errors) == {0, 1}
    assert called == []


async def test_an_async_worker_gets_decoded_items() -> None:
    async def worker(batch: list[WorkItem[int]]) -> int:
        return sum(item.value for item in batch)

    assert await decoding(worker, ExecutionMode.ASYNC)(batch_of(work_item(b"3"), work_item(b"4"))) == 7
