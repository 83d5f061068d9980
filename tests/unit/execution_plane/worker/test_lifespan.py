"""The lifespan: the order and context of entering and leaving, and the errors when that fails."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, Self

import pytest

from pyrallel_consumer import ConfigurationError, ExecutionMode, LifespanError, WorkItem
from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan, lifespan_of
from pyrallel_consumer.execution_plane.worker.lifespan_task import LifespanTask

ASYNC, THREAD, PROCESS = ExecutionMode.ASYNC, ExecutionMode.THREAD, ExecutionMode.PROCESS
database = contextvars.ContextVar[str]("database")
told: list[str] = []


@pytest.fixture(autouse=True)
def nothing_is_told() -> None:
    told.clear()


@contextmanager
def plain() -> Iterator[None]:
    told.append("plain in")
    token = database.set("open")
    yield
    database.reset(token)  # Only in the context in which it was set.
    told.append("plain out")


@asynccontextmanager
async def asynchronous() -> AsyncIterator[None]:
    await asyncio.sleep(0)
    told.append("async in")
    token = database.set("open")
    yield
    await asyncio.sleep(0)
    database.reset(token)
    told.append("async out")


class ManagedWorker:
    """A worker that is a context manager itself."""

    def __enter__(self) -> Self:
        told.append(f"worker in, database {database.get('missing')}")
        return self

    def __exit__(self, *_: object) -> None:
        told.append("worker out")

    def __call__(self, item: WorkItem) -> None: ...


def worker(item: WorkItem) -> None: ...


def held(function: Any = None, own: Any = None, mode: ExecutionMode = THREAD) -> Lifespan:
    found = lifespan_of(function, worker if own is None else own, mode)
    assert found is not None
    return found


async def on_a_loop(lifespan: Lifespan) -> str:
    """The values that attempts find while it is entered."""
    base = contextvars.copy_context()
    task = LifespanTask(lifespan, base)
    await task.enter()
    found = base.copy().run(database.get, "missing")
    await task.leave(5)
    return found


def without_a_loop(lifespan: Lifespan) -> str:
    context = contextvars.copy_context()
    lifespan.enter_in(context)
    found = context.copy().run(database.get, "missing")
    lifespan.leave_in(context)
    return found


@pytest.mark.parametrize(("function", "name"), [(plain, "plain"), (asynchronous, "async")])
async def test_it_is_entered_and_left_on_the_loop_in_the_context_of_the_attempts(function: Any, name: str) -> None:
    assert await on_a_loop(held(function, ManagedWorker())) == "open"
    assert told == [f"{name} in", "worker in, database open", "worker out", f"{name} out"]


@pytest.mark.parametrize(("function", "name"), [(plain, "plain"), (asynchronous, "async")])
def test_it_is_entered_and_left_in_a_process_without_a_loop(function: Any, name: str) -> None:
    lifespan = pickle.loads(pickle.dumps(held(function, ManagedWorker(), PROCESS)))  # noqa: S301 -- our own
    assert without_a_loop(lifespan) == "open"
    assert told == [f"{name} in", "worker in, database open", "worker out", f"{name} out"]


def test_without_a_lifespan_there_is_nothing_to_hold() -> None:
    assert lifespan_of(None, worker, ASYNC) is None
    assert lifespan_of(None, ManagedWorker, ASYNC) is None, "a class is no worker: that is said elsewhere"


class Failing:
    """A context manager of either kind that fails in the given step."""

    def __init__(self, where: str, error: BaseException) -> None:
        self._where, self._error = where, error

    def __enter__(self) -> None:
        self._act("in")

    def __exit__(self, *_: object) -> None:
        self._act("out")

    def __call__(self, item: WorkItem) -> None: ...

    def _act(self, where: str) -> None:
        told.append(f"failing {where}")
        if where == self._where:
            raise self._error


async def test_what_fails_on_the_way_in_is_told_and_what_was_entered_is_left() -> None:
    base = contextvars.copy_context()
    task = LifespanTask(held(asynchronous, Failing("in", OSError("no database"))), base)
    with pytest.raises(
        LifespanError,
        match=r"lifespan asynchronous or worker .*Failing.* failed before the first message: OSError: no data",
    ):
        await task.enter()
    assert told == ["async in", "failing in"]
    await task.leave(5)


def test_the_same_without_a_loop() -> None:
    with pytest.raises(LifespanError, match="failed before the first message: OSError: no database") as raised:
        held(plain, Failing("in", OSError("no database"))).enter_in(contextvars.copy_context())
    assert isinstance(raised.value.__cause__, OSError)
    assert told == ["plain in", "failing in"]


async def test_what_fails_on_the_way_out_is_told_and_all_else_is_left() -> None:
    lifespan = held(Recorded, Failing("out", OSError("no answer")))
    with pytest.raises(LifespanError, match="failed after the last attempt: OSError: no answer"):
        await on_a_loop(lifespan)
    with pytest.raises(LifespanError, match="failed after the last attempt: OSError: no answer"):
        without_a_loop(lifespan)
    assert told == ["recorded in", "failing in", "failing out", "recorded out"] * 2


class Recorded:
    def __enter__(self) -> None:
        told.append("recorded in")

    def __exit__(self, *_: object) -> None:
        told.append("recorded out")


@pytest.mark.parametrize("made", [7, None, lambda: None])
async def test_a_function_that_returns_no_context_manager_is_told(made: object) -> None:
    with pytest.raises(LifespanError, match="which is no context manager"):
        await on_a_loop(held(lambda: made))
    with pytest.raises(LifespanError, match="which is no context manager"):
        without_a_loop(held(lambda: made))


def test_what_is_no_error_gets_through_as_it_is() -> None:
    with pytest.raises(KeyboardInterrupt):
        held(None, Failing("in", KeyboardInterrupt())).enter_in(contextvars.copy_context())


async def test_one_that_does_not_end_is_cancelled_and_told() -> None:
    class Hanging:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None:
            await asyncio.Event().wait()

    task = LifespanTask(held(Hanging), contextvars.copy_context())
    await task.enter()
    with pytest.raises(LifespanError, match=r"the lifespan had not ended 0\.01 s after the last attempt"):
        await task.leave(0.01)


async def test_an_abort_cancels_what_is_being_left() -> None:
    begun = asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        yield
        begun.set()
        await asyncio.Event().wait()

    task = LifespanTask(held(slow), contextvars.copy_context())
    await task.enter()
    leaving = asyncio.create_task(task.leave(60))
    await begun.wait()
    task.hurry()
    with pytest.raises(LifespanError, match="cancelled while it was left"):
        await leaving


async def test_a_cancel_from_outside_is_no_reason_to_leave_before_the_attempts_have_ended() -> None:
    task = LifespanTask(held(asynchronous), contextvars.copy_context())
    await task.enter()
    for each in asyncio.all_tasks() - {asyncio.current_task()}:
        each.cancel()
    await asyncio.sleep(0.01)
    assert told == ["async in"]
    await task.leave(5)
    assert told == ["async in", "async out"]


async def test_a_cancel_while_it_is_entered_leaves_what_was_entered() -> None:
    class Slow:
        async def __aenter__(self) -> None:
            await asyncio.Event().wait()

        async def __aexit__(self, *_: object) -> None: ...

        async def __call__(self, item: WorkItem) -> None: ...

    task = LifespanTask(held(asynchronous, Slow(), ASYNC), contextvars.copy_context())
    entering = asyncio.create_task(task.enter())
    await asyncio.sleep(0.01)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await task.leave(5)
    assert told == ["async in"]


def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


async def coroutine_function() -> object:
    return nullcontext()


def with_argument(application: object) -> object:
    return nullcontext()


@pytest.mark.parametrize(
    ("function", "mode", "said"),
    [
        ("shop:lifespan", ASYNC, "cannot be called: give a function that returns a context manager"),
        (nullcontext(), ASYNC, "is a context manager: give a function without arguments that returns it"),
        (generator, ASYNC, "lifespan generator is a generator: decorate it with @contextlib.contextmanager"),
        (async_generator, ASYNC, "is a generator: decorate it with @contextlib.asynccontextmanager"),
        (coroutine_function, ASYNC, "is `async def`: give a plain function"),
        (with_argument, ASYNC, "cannot be called without arguments .*functools.partial"),
        (lambda: held(plain), PROCESS, "cannot be sent to a process .*at the top of a module"),
    ],
)
def test_what_is_no_lifespan_is_refused(function: Any, mode: ExecutionMode, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        lifespan_of(function, worker, mode)
