"""Turns a worker's return value into records that can be produced. Runs where the worker runs, within its attempt.

So a value that cannot be turned into records is a failed attempt of its message, with a sentence that says why. Workers
that return no records do not run this code.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.errors import ConfigurationError, RecordError
from pyrallel_consumer.execution_plane.worker.kind import functions_of
from pyrallel_consumer.record import Record, Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Serializer = Callable[[Any, Any], bytes | None]
    ContextOf = Callable[[str, str, Any], Any]

_EXPECTED = "with an output a worker returns a Record, a list of Records, or None, or yields Records"


class RecordMaker:
    """Makes ``Records`` of a worker's return value; ``serializer`` makes bytes of each value.

    It is called with the value and with the result of ``context_of`` for topic, field and headers.
    """

    def __init__(self, serializer: Serializer | str | None, context_of: ContextOf) -> None:
        self._context_of = context_of
        self._serializer = found(serializer) if isinstance(serializer, str) else serializer

    def made(self, result: object) -> Records:
        """The records of a Record, a list or tuple of Records, or None. Raises RecordError for anything else."""
        if result is None:
            return ()
        if isinstance(result, Record):
            return (self._ready(result),)
        if isinstance(result, list | tuple):
            return tuple([self._ready(each) for each in result])
        raise RecordError(f"the worker returned {_kind(result)}: {_EXPECTED}")

    def _ready(self, record: object) -> Record:
        if not isinstance(record, Record):
            raise RecordError(f"the worker returned {_kind(record)} among its records: {_EXPECTED}")
        topic, value, key, headers, partition, timestamp = record
        if type(topic) is not str or not topic:
            raise RecordError(f"Record.topic is {topic!r}: it must be the name of a topic")
        if self._serializer is not None:
            made = self._serializer(value, self._context_of(topic, "value", list(headers)))
        else:
            made = value.encode() if isinstance(value, str) else value
        if made is not None and not isinstance(made, bytes):
            raise RecordError(
                f"Record.value is {_kind(made)}: it must be bytes, text or None; "
                "OutputConfig.value_serializer turns other values into bytes"
            )
        made_key = key.encode() if isinstance(key, str) else key
        if made_key is not None and not isinstance(made_key, bytes):
            raise RecordError(f"Record.key is {_kind(key)}: it must be bytes, text or None")
        if headers and not all(map(_is_header, headers)):
            raise RecordError("Record.headers must be pairs of a name (text) and a value (bytes or None)")
        if partition is not None and (type(partition) is not int or partition < 0):
            raise RecordError(f"Record.partition is {partition!r}: it must be a number from 0 on, or None")
        if timestamp is not None and (type(timestamp) is not int or timestamp <= 0):
            raise RecordError(f"Record.timestamp is {timestamp!r}: it must be milliseconds since 1970, or None")
        if made is value and made_key is key and type(headers) is tuple:
            return record
        return Record(topic, made, made_key, tuple(headers), partition, timestamp)


class AsyncRecording:
    """An ``async def`` worker, or an async generator function, whose calls return ``Records``."""

    def __init__(self, worker: Callable[[Any], Any], maker: RecordMaker) -> None:
        self._worker = worker
        self._maker = maker

    async def __call__(self, item: Any) -> Records:
        result = self._worker(item)
        if not inspect.isasyncgen(result):
            return self._maker.made(await result)
        try:
            return self._maker.made([record async for record in result])
        finally:
            await result.aclose()


class PlainRecording:
    """A plain worker, or a generator function, whose calls return ``Records``."""

    def __init__(self, worker: Callable[[Any], Any], maker: RecordMaker) -> None:
        self._worker = worker
        self._maker = maker

    def __call__(self, item: Any) -> Any:
        result = self._worker(item)
        if inspect.isgenerator(result):
            try:
                return self._maker.made(list(result))
            finally:
                result.close()
        if inspect.iscoroutine(result):
            return result  # The engine reports this error.
        return self._maker.made(result)


def recording(worker: Callable[[Any], Any], maker: RecordMaker) -> Callable[[Any], Records | Awaitable[Records]]:
    """``worker``, whose calls return ``Records``, awaited where the worker's are."""
    is_async = is_async_generator(worker) or any(map(inspect.iscoroutinefunction, functions_of(worker)))
    return (AsyncRecording if is_async else PlainRecording)(worker, maker)


def found(place: str) -> Any:
    """The object at ``package.module:name``. Raises ConfigurationError if there is none."""
    module, _, name = place.partition(":")
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        message = f"OutputConfig.value_serializer is {place!r}, and cannot be loaded: {error}"
        raise ConfigurationError(message) from error


def is_async_generator(worker: Any) -> bool:
    """Whether calls of ``worker`` make async generators."""
    return any(map(inspect.isasyncgenfunction, functions_of(worker)))


def is_generator(worker: Any) -> bool:
    """Whether calls of ``worker`` make generators, async ones or plain ones."""
    return is_async_generator(worker) or any(map(inspect.isgeneratorfunction, functions_of(worker)))


def returns_records(worker: Any) -> bool:
    """Whether ``worker`` yields, or its signature says so: the annotation of what it returns names ``Record``.

    Without this annotation its code says so, if it names ``Record`` itself.
    """
    return is_generator(worker) or any(map(_returns_record, functions_of(worker)))


def _returns_record(function: object) -> bool:
    said = _returned_type(function)
    return _names_record(said) if said is not None else _uses_record(function)


def _uses_record(function: object) -> bool:
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None or "return" in getattr(function, "__annotations__", {}):
        return False
    return any(names.get(name, Record if name == Record.__name__ else None) is Record for name in code.co_names)


def _returned_type(function: object) -> object:
    annotations = getattr(function, "__annotations__", None)
    if not isinstance(annotations, dict):
        return None
    said = annotations.get("return")
    if isinstance(said, str):
        try:
            return typing.get_type_hints(function).get("return", said)
        except Exception:  # noqa: BLE001 -- names that are known to type checkers only: then the text must do
            return said
    return said


def _names_record(said: object) -> bool:
    if isinstance(said, str):
        return "Record" in said.replace("[", " ").replace("]", " ").replace("|", " ").replace(",", " ").split()
    return said is Record or any(map(_names_record, typing.get_args(said)))


def _is_header(header: object) -> bool:
    match header:
        case (str(), bytes() | None):
            return True
        case _:
            return False


def _kind(value: object) -> str:
    return f"{type(value).__name__} ({value!r:.60})" if isinstance(value, str | int | bool) else type(value).__name__
