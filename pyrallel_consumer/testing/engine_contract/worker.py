"""A worker that does what its message says, as `async def` and as a plain function, in this process or another.

The message's value is a JSON list of attempts, each a list of steps; the last attempt's steps hold for all later ones.
Steps: ``["raise", name]``, ``["retry_later", ms]``, ``["postponed", n]`` (without a charge, the first n times by the
log; then it fails), ``["wait", path]`` (until that file exists), ``["stubborn", path]`` (the same, and nothing stops
it), ``["swallow", path]`` (the same, and returns when it is cancelled), ``["context"]`` (fails unless it finds the
context of the engine's start, then changes it). With a header ``log`` a worker appends ``+id/attempt`` when it begins
and ``-id/attempt`` when it ended to the file of that name.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pyrallel_consumer.errors import DoNotRetry, RetryLater
from pyrallel_consumer.testing.engine_contract.touchy_errors import TOUCHY_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrallel_consumer.dto import WorkItem


class OddError(BaseException):
    """Not an Exception, and nothing anybody would think of."""


SETTING: contextvars.ContextVar[str] = contextvars.ContextVar("SETTING", default="unset")
ERRORS: dict[str, type[BaseException]] = {
    error.__name__: error
    for error in (
        ValueError,
        SystemExit,
        KeyboardInterrupt,
        GeneratorExit,
        asyncio.CancelledError,
        StopIteration,
        StopAsyncIteration,
        TimeoutError,
        OddError,
        DoNotRetry,
    )
}
_LOOK_SECONDS = 0.001
_PATIENCE_SECONDS = 20
"""However stubborn, a worker ends some day, so that a failed test does not hang the run."""


def set_setting(value: str) -> None:
    """For engines whose workers do not live in the context of the start."""
    SETTING.set(value)


def _log(item: WorkItem, sign: str) -> None:
    for name, value in item.headers:
        if name == "log" and value is not None:
            with Path(value.decode()).open("a") as log:
                log.write(f"{sign}{item.key and item.key.decode()}:{item.offset}/{item.attempt}\n")


def _begun(item: WorkItem) -> int:
    """How often the log says that it began."""
    place = dict(item.headers)["log"] or b""
    return Path(place.decode()).read_text().count("+")


def raised(name: str, text: str) -> BaseException:
    """A new error of this name, of the usual ones or the touchy ones."""
    return TOUCHY_ERRORS[name]() if name in TOUCHY_ERRORS else ERRORS[name](text)


def _steps(item: WorkItem) -> Iterator[tuple[str, Path]]:
    """Does the steps; yields (kind, path) when the worker must wait for a file."""
    script = json.loads(item.payload or b"[]")
    attempts = script or [[]]
    for step in attempts[min(item.attempt, len(attempts)) - 1]:
        match step:
            case ["raise", name]:
                raise raised(name, f"attempt {item.attempt}")
            case ["retry_later", milliseconds]:
                raise RetryLater(milliseconds)
            case ["postponed", times]:
                if _begun(item) <= times:
                    raise RetryLater(delay_ms=0, charge=False)
                raise ValueError("not any more")
            case ["context"]:
                assert SETTING.get() == "as at start", SETTING.get()
                SETTING.set(f"changed by {item.offset}")
            case [kind, path]:
                yield kind, Path(path)


async def async_worker(item: WorkItem) -> None:
    """For engines that await their workers."""
    _log(item, "+")
    try:
        for kind, path in _steps(item):
            give_up_at = time.monotonic() + _PATIENCE_SECONDS
            while not path.exists() and time.monotonic() < give_up_at:
                try:
                    await asyncio.sleep(_LOOK_SECONDS)
                except asyncio.CancelledError:
                    if kind == "wait":
                        raise
                    if kind == "swallow":
                        return
    finally:
        _log(item, "-")


def plain_worker(item: WorkItem) -> None:
    """For engines that call their workers."""
    _log(item, "+")
    with contextlib.ExitStack() as stack:
        stack.callback(_log, item, "-")
        for _, path in _steps(item):
            give_up_at = time.monotonic() + _PATIENCE_SECONDS
            while not path.exists() and time.monotonic() < give_up_at:
                time.sleep(_LOOK_SECONDS)
