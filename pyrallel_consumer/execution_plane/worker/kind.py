"""Checks that a worker fits its execution mode, before any connection or start.

Inspects the worker and never calls it. An error that is not visible from outside (a plain wrapper may return a
coroutine) passes here and fails the attempt when it runs.
"""

from __future__ import annotations

import functools
import inspect
import pickle
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from types import NoneType, UnionType
from typing import Any, Final, Union

from pyrallel_consumer.dto import ExecutionMode, WorkItem
from pyrallel_consumer.errors import ConfigurationError, WorkerMismatchError

Worker = Callable[..., Any]
"""A worker as users give it, before ``check_worker`` has looked at it: ``async def`` or plain, by mode."""

_LISTS: Final = (list, Sequence, Collection, Iterable)

_ASYNC_FITS = "use ExecutionMode.ASYNC (or ExecutionMode.PROCESS for more than one core)"
_PLAIN_FITS = "use ExecutionMode.THREAD (or ExecutionMode.PROCESS for work that keeps the CPU busy)"


def check_worker(worker: object, mode: ExecutionMode, *, batch_size: int = 1) -> None:
    """Raise where ``worker`` cannot run in ``mode``. A generator, of the kind that fits the mode, yields records.

    ``ConfigurationError``: no mode runs it (not callable, a class, a generator, other parameters than one item or, with
    a ``batch_size`` above 1, one list of items).
    ``WorkerMismatchError``: another mode fits, and the message names it.
    """
    name = name_of(worker)
    if isinstance(worker, type):
        raise ConfigurationError(f"worker {name} is a class: give an instance of it, or a function")
    if not callable(worker):
        raise ConfigurationError(f"worker {name} cannot be called: give a function that takes one WorkItem")
    functions = functions_of(worker)
    _check_parameters(worker, name)
    _check_batches(worker, name, batch_size)
    if mode is ExecutionMode.ASYNC:
        if not is_async(worker):
            raise WorkerMismatchError(
                f"worker {name} is a plain function and mode {mode} awaits `async def` workers: {_PLAIN_FITS}"
            )
        return
    is_coroutine = inspect.iscoroutinefunction(functions[0]) or inspect.isasyncgenfunction(functions[0])
    if mode is ExecutionMode.THREAD and is_coroutine:
        raise WorkerMismatchError(f"worker {name} is `async def` and mode {mode} calls plain functions: {_ASYNC_FITS}")
    if mode is ExecutionMode.PROCESS:
        _check_picklable(worker, name)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of it, or of its decorated function, is awaited or yields asynchronously, as far as visible."""
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in functions_of(function))


def functions_of(worker: Callable[..., Any]) -> list[Any]:
    """The function that a call of ``worker`` runs, and the functions that it decorates, outermost first."""
    functions: list[Any] = []
    found: Any = worker
    while found is not None and found not in functions:
        while isinstance(found, functools.partial):
            found = found.func
        if not (inspect.isroutine(found) or inspect.iscoroutinefunction(found)):
            found = getattr(type(found), "__call__", found)  # noqa: B004 -- the type's is what a call runs
        functions.append(found)
        found = getattr(found, "__wrapped__", None)
    return functions


def _check_parameters(worker: Callable[..., Any], name: str) -> None:
    try:
        signature = inspect.signature(worker)
    except (TypeError, ValueError):
        return  # Compiled functions may have none to look at.
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigurationError(
            f"worker {name}{signature} cannot be called with one WorkItem ({error}); "
            "bind further arguments with functools.partial"
        ) from None


def _check_batches(worker: Callable[..., Any], name: str, batch_size: int) -> None:
    takes_list = _takes_list(worker)
    if takes_list is True and batch_size == 1:
        raise ConfigurationError(
            f"worker {name} takes a list of messages and batch_size is 1: set ExecutionConfig.batch_size to the most "
            "that it shall get (environment: EXECUTION_BATCH_SIZE), or have it take one WorkItem"
        )
    if takes_list is False and batch_size > 1:
        raise ConfigurationError(
            f"worker {name} takes one WorkItem and batch_size is {batch_size}: have it take a list[WorkItem], or leave "
            "ExecutionConfig.batch_size at 1 (environment: EXECUTION_BATCH_SIZE)"
        )


def check_values(worker: Callable[..., Any], *, is_decoded: bool) -> None:
    """Raise ConfigurationError if values are bytes, and the worker's annotation asks for something else.

    ``WorkItem[Order]`` without a type or a deserializer would fail each message. Nothing is said about annotations that
    cannot be resolved.
    """
    asked = None if is_decoded else _value_asked(_annotation(worker))
    if asked is None or _may_be_bytes(asked):
        return
    shown = asked.__name__ if isinstance(asked, type) else str(asked)
    raise ConfigurationError(
        f"worker {name_of(worker)} takes WorkItem[{shown}], and without value_type or value_deserializer the values "
        "are bytes: give PyrallelConsumer(..., value_type=...), or annotate WorkItem. `pyrallel-consumer run` takes "
        "the place of such a PyrallelConsumer"
    )


def _value_asked(annotation: Any) -> Any:
    """``Order`` of ``WorkItem[Order]`` and of a list of these; None if the annotation names no value."""
    if typing.get_origin(annotation) in _LISTS:
        [annotation] = typing.get_args(annotation)
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is WorkItem else None


def _may_be_bytes(asked: Any) -> bool:
    """False only if it is certain that bytes do not fit."""
    if typing.get_origin(asked) in {Union, UnionType}:
        return any(_may_be_bytes(each) for each in typing.get_args(asked) if each is not NoneType)
    kind = typing.get_origin(asked) or asked
    return kind is Any or not isinstance(kind, type) or issubclass(bytes, kind)


def _takes_list(worker: Callable[..., Any]) -> bool | None:
    """Whether its parameter is annotated as a list (True) or as one item (False); None if it is neither."""
    annotation = _annotation(worker)
    if isinstance(annotation, str):
        return _is_list_text(annotation)
    found = typing.get_origin(annotation) or annotation
    if not isinstance(found, type):
        return None
    return True if found in _LISTS else False if issubclass(found, WorkItem) else None


def _annotation(worker: Callable[..., Any]) -> Any:
    """The annotation of its first parameter, None without one; text if it has names that only a type checker knows."""
    try:
        parameters = inspect.signature(worker).parameters.values()
    except (TypeError, ValueError):
        return None
    annotation = next((each.annotation for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY), None)
    if not isinstance(annotation, str):
        return annotation
    function: Any = functions_of(worker)[0]
    try:
        return eval(annotation, getattr(inspect.unwrap(function), "__globals__", {}))  # noqa: S307 -- as typing does; the user's own text
    except Exception:  # noqa: BLE001 -- names that only a type checker knows
        return annotation


def _is_list_text(annotation: str) -> bool | None:
    name = annotation.partition("[")[0].rpartition(".")[2].strip()
    return True if name in {each.__name__ for each in _LISTS} | {"List"} else False if name == "WorkItem" else None


def _check_picklable(worker: object, name: str) -> None:
    try:
        pickle.dumps(worker)
    except Exception as error:
        # Any exception of a user's __reduce__ means the same: the object cannot be sent to another process.
        raise WorkerMismatchError(
            f"worker {name} cannot be sent to a process ({error}): define it at the top of a module, without lambdas, "
            "locks and open files, or use ExecutionMode.THREAD"
        ) from error


def name_of(worker: object) -> str:
    """The worker's name in messages and log lines."""
    return getattr(worker, "__qualname__", None) or repr(worker)
