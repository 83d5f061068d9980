"""Exceptions on their way out of a worker process: as they are where they can be pickled, as their words where not.

Nothing that an exception does while it is pickled or restored stops a process or the engine.
"""

from __future__ import annotations

import pickle
import traceback
from typing import Any, NamedTuple

from pyrallel_consumer.dto import SPAN_CARRIER
from pyrallel_consumer.errors import DoNotRetry, ExecutionError, RetryLater

_MAX_CAUSES = 8


class PackedError(NamedTuple):
    """``pickled`` is None where that does not work; ``steering`` is what the retries must know all the same.

    ``carrier`` is the context of the attempt's span, where attempts are traced.
    """

    pickled: bytes | None
    description: str
    trace: str
    steering: tuple[str, Any] | None
    cause: tuple[Any, ...] | None
    carrier: dict[str, str] | None = None


def packed_error(error: BaseException, depth: int = 0) -> PackedError:
    """What is sent instead of ``error``, with its causes, which pickle forgets."""
    steering: tuple[str, Any] | None = None
    if isinstance(error, DoNotRetry):
        steering = ("give up", None)
    elif isinstance(error, RetryLater):
        delay = getattr(error, "delay_ms", None)
        steering = ("later", delay if type(delay) in {int, float} else None)
    try:
        description = f"{type(error).__qualname__}: {error}"
    except Exception:  # noqa: BLE001 -- the user's __str__ may raise anything
        description = type(error).__qualname__
    try:
        trace = "" if depth else "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 -- as above
        trace = description
    cause = error.__cause__
    packed_cause = None if cause is None or depth >= _MAX_CAUSES else tuple(packed_error(cause, depth + 1))
    carrier = error.__dict__.pop(SPAN_CARRIER, None)
    return PackedError(_pickled(error), description, trace, steering, packed_cause, carrier)


def restored_error(packed: PackedError) -> BaseException:
    """The error again, with the trace of the process as a note; where it cannot be, one that tells what it was."""
    error: object = None
    if packed.pickled is not None:
        try:
            error = pickle.loads(packed.pickled)  # noqa: S301 -- written by our own process
        except Exception:  # noqa: BLE001 -- the user's __init__ or __setstate__ may raise anything
            error = None
    if not isinstance(error, BaseException):
        error = _substitute(packed)
    if packed.cause is not None:
        error.__cause__ = restored_error(PackedError(*packed.cause))
    if packed.trace:
        error.add_note(f"In the worker process:\n{packed.trace.rstrip()}")
    return error


def _substitute(packed: PackedError) -> BaseException:
    text = f"{packed.description} (raised in a worker process; the exception itself cannot be pickled)"
    match packed.steering:
        case ("give up", _):
            return DoNotRetry(text)
        case ("later", int() | float() as delay) if delay >= 0:
            return RetryLater(delay, text)  # type: ignore[arg-type]  # as whoever raised it chose
        case _:
            return ExecutionError(text)


def _pickled(error: BaseException) -> bytes | None:
    try:
        pickled = pickle.dumps(error, 5)
        pickle.loads(pickled)  # noqa: S301 -- many exceptions can be pickled and not be restored
    except Exception:  # noqa: BLE001 -- whatever the user's class does: then its words must do
        return None
    return pickled
