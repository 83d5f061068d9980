"""Workers for processes that do harm: the message's value says what (see ``harmful_worker``)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem

READY: contextvars.ContextVar[str] = contextvars.ContextVar("READY", default="not initialized")
logger = logging.getLogger("tests.dying_worker")


class UnpicklableError(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.function = lambda: text


class UnrestorableError(Exception):
    """Can be pickled, but not be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def initialize() -> None:
    READY.set("initialized")


def fail_to_initialize() -> NoReturn:
    raise RuntimeError("no database here")


def _kill(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(_: str) -> None:
    os._exit(3)


def _segfault(_: str) -> None:
    ctypes.string_at(0)


def _in_c_code(seconds: str) -> None:
    """Holds the GIL: meanwhile no Python code runs in this process, not even a signal handler."""
    ctypes.PyDLL(None).usleep(int(float(seconds) * 1e6))


def _sleep(seconds: str) -> None:
    time.sleep(float(seconds))


def _wait(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.001)


def _raise_unpicklable(_: str) -> None:
    raise UnpicklableError("odd")


def _raise_unrestorable(_: str) -> None:
    raise UnrestorableError("quite", "odd")


def _log(text: str) -> None:
    logger.warning("%s from %d", text, os.getpid())
    logger.debug("nobody wants to know")


def _check_initialized(_: str) -> None:
    assert READY.get() == "initialized"


def _send_signals(_: str) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave_a_child(_: str) -> None:
    """A child that holds everything that its parent had open."""
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(3,), daemon=True).start()
    _kill("")


def _end_children(_: str) -> None:
    """Children that multiprocessing forks must end when they are told to; or ``Pool`` waits for ever."""
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=time.sleep, args=(60,), daemon=True)
    child.start()
    child.terminate()
    child.join(20)
    assert child.exitcode == -signal.SIGTERM, f"after terminate() the child's exit code is {child.exitcode}"
    with fork.Pool(2) as pool:
        pool.map(_sleep, ["0", "0"])


HARM: dict[str, Callable[[str], None]] = {
    "kill": _kill,
    "exit": _exit,
    "segfault": _segfault,
    "c-code": _in_c_code,
    "sleep": _sleep,
    "wait": _wait,
    "unpicklable": _raise_unpicklable,
    "unrestorable": _raise_unrestorable,
    "log": _log,
    "initialized?": _check_initialized,
    "signals": _send_signals,
    "leave-a-child": _leave_a_child,
    "end-children": _end_children,
}


def note_begin(item: WorkItem) -> None:
    """Append ``pid offset attempt`` to the file of the header ``log``."""
    for name, path in item.headers:
        if name == "log" and path is not None:
            with Path(path.decode()).open("a") as log:
                log.write(f"{os.getpid()} {item.offset} {item.attempt}\n")


def harmful_worker(item: WorkItem) -> None:
    """``note_begin``, then the ``HARM`` that the value names.

    Only the first attempt does it where the value ends in ``once``.
    """
    note_begin(item)
    kind, _, more = (item.payload or b"").decode().partition(" ")
    if kind and not (more.endswith("once") and item.attempt > 1):
        HARM[kind](more)


async def async_harmful_worker(item: WorkItem) -> None:
    """The same; ``idle`` waits on the event loop for a number of seconds, and ``idle-until`` for a file.

    ``stubborn`` waits for a file as well, and for nothing else.
    """
    kind, _, more = (item.payload or b"").decode().partition(" ")
    if kind not in {"idle", "idle-until", "stubborn"}:
        harmful_worker(item)
        return
    note_begin(item)
    if kind == "idle":
        await asyncio.sleep(float(more))
    while kind == "idle-until" and not Path(more).exists():
        await asyncio.sleep(0.001)
    while kind == "stubborn" and not Path(more).exists():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.001)
