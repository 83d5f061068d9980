"""Which workers fit which mode, and the errors for workers that do not fit."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any
from unittest.mock import AsyncMock

import pytest

from pyrallel_consumer.dto import ExecutionMode, WorkItem
from pyrallel_consumer.errors import ConfigurationError, WorkerMismatchError
from pyrallel_consumer.execution_plane.worker.kind import check_values, check_worker, is_async

ASYNC, THREAD, PROCESS = ExecutionMode.ASYNC, ExecutionMode.THREAD, ExecutionMode.PROCESS


async def async_function(item: WorkItem) -> None: ...
async def async_with_default(item: WorkItem, limit: int = 3) -> None: ...
async def async_of_two(database: object, item: WorkItem) -> None: ...
async def async_of_none() -> None: ...
async def async_by_keyword(*, item: WorkItem) -> None: ...


async def async_generator(item: WorkItem) -> AsyncIterator[int]:
    yield 1


def plain_function(item: WorkItem) -> None: ...


def plain_generator(item: WorkItem) -> Iterator[int]:
    yield 1


def logged(function: Callable[[WorkItem], Any]) -> Callable[[WorkItem], Any]:
    @functools.wraps(function)
    def call(item: WorkItem) -> Any:
        return function(item)

    return call


def logged_async(function: Callable[[WorkItem], Coroutine[Any, Any, None]]) -> Callable[[WorkItem], Any]:
    @functools.wraps(function)
    async def call(item: WorkItem) -> None:
        await function(item)

    return call


class AsyncWorker:
    async def __call__(self, item: WorkItem) -> None: ...
    async def method(self, item: WorkItem) -> None: ...

    @classmethod
    async def of_class(cls, item: WorkItem) -> None: ...

    @staticmethod
    async def static(item: WorkItem) -> None: ...


class PlainWorker:
    def __init__(self) -> None:
        self.lock: object = None

    def __call__(self, item: WorkItem) -> None: ...
    def method(self, item: WorkItem) -> None: ...


ASYNC_WORKERS = {
    "function": async_function,
    "with a default": async_with_default,
    "bound method": AsyncWorker().method,
    "class method": AsyncWorker.of_class,
    "static method": AsyncWorker.static,
    "callable object": AsyncWorker(),
    "partial": functools.partial(async_of_two, object()),
    "partial of a partial": functools.partial(functools.partial(async_of_two, object())),
    "partial of a callable object": functools.partial(AsyncWorker()),
    "decorated": logged(async_function),
    "decorated twice": logged(logged(async_function)),
    "decorated by async def": logged_async(async_function),
    "decorated method": logged(AsyncWorker().method),
    "mock": AsyncMock(),
}
PLAIN_WORKERS = {
    "function": plain_function,
    "bound method": PlainWorker().method,
    "callable object": PlainWorker(),
    "partial": functools.partial(plain_function),
    "built-in": print,
}


@pytest.mark.parametrize("worker", ASYNC_WORKERS.values(), ids=ASYNC_WORKERS.keys())
def test_the_async_mode_takes_whatever_is_awaited(worker: object) -> None:
    check_worker(worker, ASYNC)


@pytest.mark.parametrize("mode", [THREAD, PROCESS])
@pytest.mark.parametrize("worker", PLAIN_WORKERS.values(), ids=PLAIN_WORKERS.keys())
def test_the_other_modes_take_plain_functions(worker: object, mode: ExecutionMode) -> None:
    check_worker(worker, mode)


@pytest.mark.parametrize("worker", PLAIN_WORKERS.values(), ids=PLAIN_WORKERS.keys())
def test_a_plain_function_in_the_async_mode_is_told_the_modes_that_fit(worker: object) -> None:
    with pytest.raises(WorkerMismatchError, match=r"plain function.*ExecutionMode\.THREAD.*ExecutionMode\.PROCESS"):
        check_worker(worker, ASYNC)


@pytest.mark.parametrize("name", ["function", "bound method", "callable object", "partial", "decorated by async def"])
def test_an_async_worker_for_threads_is_told_the_modes_that_fit(name: str) -> None:
    with pytest.raises(
        WorkerMismatchError, match=r"async def.*mode thread.*ExecutionMode\.ASYNC.*ExecutionMode\.PROCESS"
    ):
        check_worker(ASYNC_WORKERS[name], THREAD)


@pytest.mark.parametrize("name", ["function", "bound method", "class method", "callable object"])
def test_processes_take_async_workers_too(name: str) -> None:
    check_worker(ASYNC_WORKERS[name], PROCESS)


@pytest.mark.parametrize("worker", ASYNC_WORKERS.values(), ids=ASYNC_WORKERS.keys())
def test_an_async_worker_is_known_as_one(worker: Callable[..., Any]) -> None:
    assert is_async(worker)


@pytest.mark.parametrize("worker", PLAIN_WORKERS.values(), ids=PLAIN_WORKERS.keys())
def test_a_plain_worker_is_known_as_one(worker: Callable[..., Any]) -> None:
    assert not is_async(worker)


@pytest.mark.parametrize("mode", ExecutionMode)
@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        (None, "cannot be called"),
        ("worker", "cannot be called"),
        (AsyncWorker, "is a class"),
        (async_of_none, "one WorkItem"),
        (async_of_two, "one WorkItem"),
        (async_by_keyword, "one WorkItem"),
        (AsyncWorker.method, "one WorkItem"),
    ],
)
def test_what_no_mode_can_run_is_refused_with_the_reason(worker: object, reason: str, mode: ExecutionMode) -> None:
    with pytest.raises(ConfigurationError, match=reason) as refusal:
        check_worker(worker, mode)
    assert not isinstance(refusal.value, WorkerMismatchError)


@pytest.mark.parametrize("mode", [THREAD, PROCESS])
def test_generators_yield_records_in_the_mode_of_their_kind(mode: ExecutionMode) -> None:
    check_worker(async_generator, ASYNC)
    check_worker(functools.partial(async_generator), ASYNC)
    check_worker(plain_generator, mode)

    check_worker(async_generator, PROCESS)
    with pytest.raises(WorkerMismatchError, match=r"async def.*mode thread.*ExecutionMode\.ASYNC"):
        check_worker(async_generator, THREAD)
    with pytest.raises(WorkerMismatchError, match="plain function"):
        check_worker(plain_generator, ASYNC)


def test_the_refusal_names_the_worker_and_its_parameters() -> None:
    with pytest.raises(ConfigurationError, match=r"async_of_two\(database: .*, item: .*\).*functools\.partial"):
        check_worker(async_of_two, ASYNC)


def test_a_worker_that_cannot_be_pickled_is_refused_for_processes_alone() -> None:
    locked = PlainWorker()
    locked.lock = threading.Lock()
    for worker in (lambda item: None, locked, locked.method):
        check_worker(worker, THREAD)
        with pytest.raises(WorkerMismatchError, match=r"sent to a process.*ExecutionMode\.THREAD"):
            check_worker(worker, PROCESS)


async def async_of_list(items: list[WorkItem]) -> None: ...
def plain_of_sequence(items: Sequence[WorkItem[Any]], limit: int = 3) -> None: ...
async def async_of_unknown(items: list[OnlyForTypeCheckers]) -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def async_without_annotation(items): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
async def async_of_anything(items: Any) -> None: ...


class ListWorker:
    async def __call__(self, items: list[WorkItem]) -> None: ...
    async def method(self, items: list[WorkItem]) -> None: ...


LIST_WORKERS = {
    "function": async_of_list,
    "callable object": ListWorker(),
    "bound method": ListWorker().method,
    "partial": functools.partial(async_of_list),
    "names that only a type checker knows": async_of_unknown,
}


@pytest.mark.parametrize("worker", LIST_WORKERS.values(), ids=LIST_WORKERS.keys())
def test_a_worker_that_takes_a_list_needs_batches(worker: object) -> None:
    check_worker(worker, ASYNC, batch_size=500)
    with pytest.raises(ConfigurationError, match=r"takes a list of messages and batch_size is 1.*EXECUTION_BATCH_SIZE"):
        check_worker(worker, ASYNC)


@pytest.mark.parametrize(
    "worker", [async_function, AsyncWorker(), AsyncWorker().method, functools.partial(async_with_default, limit=1)]
)
def test_a_worker_that_takes_one_message_cannot_have_batches(worker: object) -> None:
    with pytest.raises(ConfigurationError, match=r"takes one WorkItem and batch_size is 500.*list\[WorkItem\]"):
        check_worker(worker, ASYNC, batch_size=500)


def test_a_sequence_is_a_list_in_the_other_modes_too() -> None:
    check_worker(plain_of_sequence, PROCESS, batch_size=2)
    with pytest.raises(ConfigurationError, match="batch_size is 1"):
        check_worker(plain_of_sequence, THREAD)


@pytest.mark.parametrize("worker", [async_without_annotation, async_of_anything, AsyncMock()])
def test_a_worker_that_does_not_say_what_it_takes_is_taken_at_its_settings(worker: object) -> None:
    check_worker(worker, ASYNC)
    check_worker(worker, ASYNC, batch_size=500)


class Order: ...


async def of_order(item: WorkItem[Order]) -> None: ...
async def of_order_or_tombstone(item: WorkItem[Order | None]) -> None: ...
async def of_orders(items: list[WorkItem[Order]]) -> None: ...
async def of_object(item: WorkItem[dict[str, Any]]) -> None: ...
async def of_bytes(item: WorkItem[bytes | None]) -> None: ...
async def of_any(item: WorkItem[Any]) -> None: ...
async def of_either(item: WorkItem[Order | bytes]) -> None: ...
async def of_unknown(item: WorkItem[OnlyForTypeCheckers]) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("worker", [of_order, of_order_or_tombstone, of_orders, of_object, functools.partial(of_order)])
def test_a_worker_of_typed_values_is_refused_where_values_are_bytes(worker: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"takes WorkItem\[.*the values are bytes: give .*value_type="):
        check_values(worker, is_decoded=False)
    check_values(worker, is_decoded=True)


@pytest.mark.parametrize(
    "worker", [async_function, of_bytes, of_any, of_either, of_unknown, async_of_list, async_of_anything, print]
)
def test_a_worker_that_may_take_bytes_is_not_refused(worker: Callable[..., Any]) -> None:
    check_values(worker, is_decoded=False)
