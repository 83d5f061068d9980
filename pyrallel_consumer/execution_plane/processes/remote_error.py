"""Exceptions on their way out of a worker process: pickled if possible, else as text.

An error during pickling or restoring never stops a process or the engine.
"""

from __future__ import annotations

import pickle
from typing import Any, Final, NamedTuple

from pyrallel_consumer.dto import SPAN_CARRIER
from pyrallel_consumer.errors import DoNotRetry, ExecutionError, LifespanError, RetryLater
from pyrallel_consumer.execution_plane.retry import asked_for
from pyrallel_consumer.foreign_errors import (
    add_note,
    attempted,
    cause_of,
    is_a,
    set_cause,
    take_attribute,
    text_of,
    traceback_of,
    type_name,
)

_MAX_CAUSES: Final = 8
_LONGEST_TEXT: Final = 10_000
_MAX_PICKLED_BYTES: Final = 1 << 20
"""A larger exception is sent as text: it holds more than an error, and every attempt would send it again."""

_GIVE_UP: Final = "give up"
_LATER: Final = "later"
_STOP: Final = "stop"


class PackedError(NamedTuple):
    """``pickled`` is None if pickling fails; ``steering`` is the part that retries need in any case.

    ``carrier`` is the context of the attempt's span, where attempts are traced.
    """

    pickled: bytes | None
    description: str
    trace: str
    steering: tuple[Any, ...] | None
    cause: tuple[Any, ...] | None
    carrier: dict[str, str] | None = None


def packed_error(error: BaseException, depth: int = 0) -> PackedError:
    """The packed form of ``error``, with its causes, which pickle forgets."""
    text = text_of(error, _LONGEST_TEXT)
    description = f"{type_name(error)}: {text}" if text else type_name(error)
    trace = "" if depth else traceback_of(error)
    cause = cause_of(error)
    packed_cause = None if cause is None or depth >= _MAX_CAUSES else tuple(packed_error(cause, depth + 1))
    carrier = take_attribute(error, SPAN_CARRIER)
    return PackedError(_pickled(error), description, trace, _steering(error), packed_cause, carrier)


def packed_refusal(error: BaseException) -> bytes:
    """Why a process cannot begin, or could not end in order: its words, its trace, and whether it is the lifespan's."""
    packed = packed_error(error)
    return pickle.dumps((packed.description, packed.trace, is_a(error, LifespanError)))


def restored_error(packed: PackedError) -> BaseException:
    """The error again, with the process's traceback as a note; if it cannot be restored, an error with its text."""
    error = None if packed.pickled is None else _unpickled(packed.pickled)
    if error is None or _steering(error) != packed.steering:
        error = _substitute(packed)
    if packed.cause is not None:
        set_cause(error, restored_error(PackedError(*packed.cause)))
    if packed.trace:
        add_note(error, f"In the worker process:\n{packed.trace}")
    return error


def _steering(error: BaseException) -> tuple[Any, ...] | None:
    if is_a(error, KeyboardInterrupt):
        return (_STOP,)
    if is_a(error, DoNotRetry):
        return (_GIVE_UP,)
    asked = asked_for(error)
    return None if asked is None else (_LATER, *asked)


def _substitute(packed: PackedError) -> BaseException:
    text = f"{packed.description} (raised in a worker process; the exception itself cannot be pickled)"
    match packed.steering:
        case (str(kind),) if kind == _STOP:
            return KeyboardInterrupt(text)
        case (str(kind),) if kind == _GIVE_UP:
            return DoNotRetry(text)
        case (_, delay_ms, is_charged):
            return RetryLater(delay_ms, text, charge=is_charged)
        case _:
            return ExecutionError(text)


def _pickled(error: BaseException) -> bytes | None:
    """The pickled error, None if it cannot be pickled or not be restored: many exceptions can only be pickled."""
    pickled = attempted(lambda: pickle.dumps(error, 5), None)
    if pickled is None or len(pickled) > _MAX_PICKLED_BYTES or _unpickled(pickled) is None:
        return None
    return pickled


def _unpickled(pickled: bytes) -> BaseException | None:
    restored = attempted(lambda: pickle.loads(pickled), None)  # noqa: S301 -- written by our own process
    return restored if issubclass(type(restored), BaseException) else None
