"""Context managers entered before the first message and left after the last attempt: the ``lifespan``, and the worker.

Enters and leaves them in order: the lifespan first, and inside of it the worker, if the worker is a context manager
itself. The place is decided elsewhere: the event loop of the consumer (``lifespan_task``), or each worker process. The
lifespan is entered in the context that all attempts copy, so every attempt sees the context variables that it sets. A
failure is a ``LifespanError``.
"""

from __future__ import annotations

import inspect
import pickle
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import ConfigurationError, LifespanError
from pyrallel_consumer.execution_plane.worker.kind import name_of
from pyrallel_consumer.foreign_errors import text_of, type_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from contextvars import Context

    Manager: TypeAlias = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]

_LONGEST_TEXT: Final = 500


class Lifespan:
    """``function`` is the user's ``lifespan``, ``worker`` the worker if it is a context manager; else None.

    Entered once, on an event loop or without one, and left the same way. Picklable until then.
    """

    def __init__(self, function: Callable[[], Manager] | None, worker: Any) -> None:
        self._function = function
        self._worker = worker
        self._stack = AsyncExitStack()
        self._plain: list[tuple[Any, bool]] = []
        """Context managers entered without a loop, and whether each was entered by ``async with``."""
        self._runner: asyncio.Runner | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Lifespan, (self._function, self._worker)

    # On an event loop

    async def enter(self) -> None:
        """Enter all, or none. Raises LifespanError."""
        try:
            for manager in self._managers():
                if _is_async(manager):
                    await self._stack.enter_async_context(manager)
                else:
                    self._stack.enter_context(manager)
        except BaseException as error:  # noqa: BLE001 -- raised again
            with suppress(Exception):  # The first failure is reported, and not the failures that follow from it.
                await self._stack.__aexit__(type(error), error, error.__traceback__)
            self._raise_failed("before the first message", error)

    async def leave(self) -> None:
        """Leave all, even if leaving one of them fails. Raises LifespanError."""
        try:
            await self._stack.aclose()
        except BaseException as error:  # noqa: BLE001 -- raised again
            self._raise_failed("after the last attempt", error)

    # In a process whose worker is a plain function

    def enter_in(self, context: Context) -> None:
        """``enter`` in ``context``. Asynchronous context managers are entered on an event loop made only for that."""
        try:
            for manager in self._managers(context.run):
                if is_plain := _is_plain(manager):
                    context.run(manager.__enter__)
                else:
                    self._awaited(manager.__aenter__, context)
                self._plain.append((manager, not is_plain))
        except BaseException as error:  # noqa: BLE001 -- raised again
            with suppress(Exception):
                self._leave_all(context, error)
            self._raise_failed("before the first message", error)

    def leave_in(self, context: Context) -> None:
        """Leave in ``context`` what ``enter_in`` entered."""
        try:
            self._leave_all(context, None)
        except BaseException as error:  # noqa: BLE001 -- raised again
            self._raise_failed("after the last attempt", error)

    def _leave_all(self, context: Context, error: BaseException | None) -> None:
        raised = (None, None, None) if error is None else (type(error), error, error.__traceback__)
        try:
            while self._plain:
                manager, is_async = self._plain.pop()
                try:
                    if is_async:
                        self._awaited(partial(manager.__aexit__, *raised), context)
                    else:
                        context.run(manager.__exit__, *raised)
                except BaseException:
                    self._leave_all(context, error)
                    raise
        finally:
            if self._runner is not None:
                self._runner.close()

    def _awaited(self, call: Callable[[], Awaitable[object]], context: Context) -> None:
        import asyncio  # noqa: PLC0415 -- every process would pay for it

        async def awaiting() -> None:
            await call()

        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(awaiting(), context=context)

    # Inside

    def _managers(self, run: Callable[[Callable[[], Any]], Any] = lambda function: function()) -> Iterator[Any]:
        """The context managers to enter, in order. The next one is made after the previous one was entered."""
        if self._function is not None:
            yield _checked(run(self._function))
        if self._worker is not None:
            yield self._worker

    def _raise_failed(self, when: str, error: BaseException) -> NoReturn:
        if not isinstance(error, Exception):
            raise error
        names = []
        if self._function is not None:
            names.append(f"lifespan {name_of(self._function)}")
        if self._worker is not None:
            names.append(f"worker {name_of(self._worker)}, a context manager,")
        text = text_of(error, _LONGEST_TEXT)
        reason = f"{type_name(error)}: {text}" if text else type_name(error)
        raise LifespanError(f"{' or '.join(names)} failed {when}: {reason}") from error


def lifespan_of(function: Any, worker: object, mode: ExecutionMode) -> Lifespan | None:
    """The lifespan of these, None if there is nothing to enter. ConfigurationError if it is not a lifespan."""
    if function is not None:
        _check(function, mode)
    own = worker if not isinstance(worker, type) and _is_manager(worker) else None
    return None if function is None and own is None else Lifespan(function, own)


def _check(function: Any, mode: ExecutionMode) -> None:
    name = name_of(function)
    if not callable(function):
        if _is_manager(function):
            raise ConfigurationError(
                f"lifespan {name} is a context manager: give a function without arguments that returns it"
            )
        raise ConfigurationError(f"lifespan {name} cannot be called: give a function that returns a context manager")
    if inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"lifespan {name} is a generator: decorate it with @contextlib.contextmanager")
    if inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"lifespan {name} is a generator: decorate it with @contextlib.asynccontextmanager")
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"lifespan {name} is `async def`: give a plain function that returns a context manager, or `yield` in it "
            "and decorate it with @contextlib.asynccontextmanager"
        )
    try:
        inspect.signature(function).bind()
    except ValueError:
        pass  # Compiled functions may have no signature to look at.
    except TypeError as error:
        raise ConfigurationError(
            f"lifespan {name} cannot be called without arguments ({error}); bind them with functools.partial"
        ) from None
    if mode is ExecutionMode.PROCESS:
        try:
            pickle.dumps(function)
        except Exception as error:
            # Any exception of a user's __reduce__ means the same: the object cannot be sent to another process.
            raise ConfigurationError(
                f"lifespan {name} cannot be sent to a process ({error}): define it at the top of a module"
            ) from error


def _checked(made: Any) -> Any:
    if not _is_manager(made):
        if inspect.iscoroutine(made):
            made.close()
        raise TypeError(f"it returned {type(made).__name__}, which is no context manager")
    return made


def _is_async(manager: object) -> bool:
    return hasattr(type(manager), "__aenter__") and hasattr(type(manager), "__aexit__")


def _is_plain(manager: object) -> bool:
    return hasattr(type(manager), "__enter__") and hasattr(type(manager), "__exit__")


def _is_manager(thing: object) -> bool:
    return _is_async(thing) or _is_plain(thing)
