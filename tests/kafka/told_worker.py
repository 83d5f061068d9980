"""Workers that obey the value of their message: a log of messages is a script of failures.

A value is a text: an id, then, after a blank, at most one deed. ``fail N`` fails the first N attempts, ``hang S`` makes
the first attempt take S seconds, and ``die`` kills the worker process in the first attempt (elsewhere that attempt
fails).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pyrallel_consumer import ExecutionMode, WorkItem
from tests.kafka.journal import Journal

ALWAYS = 1_000


class Deed(NamedTuple):
    """The outcome of one attempt."""

    seconds: float
    fails: bool = False
    dies: bool = False


def told(number: object, verb: str = "", argument: object = "") -> bytes:
    """The value of a message."""
    return " ".join(str(part) for part in (number, verb, argument) if part != "").encode()


def deed_of(item: WorkItem, work_ms: float) -> Deed:
    """The deed for this attempt; a value without a deed takes ``work_ms`` and succeeds."""
    _, verb, argument = (*(item.payload or b"").decode().split(" "), "", "")[:3]
    seconds = work_ms / 1000
    if verb == "fail":
        return Deed(seconds, fails=item.attempt <= int(argument))
    if item.attempt > 1 or not verb:
        return Deed(seconds)
    return Deed(float(argument)) if verb == "hang" else Deed(seconds, fails=True, dies=True)


def told_worker(
    mode: ExecutionMode, folder: Path, name: str, work_ms: float, *, is_async: bool = False
) -> Callable[[WorkItem], Any]:
    """The worker of a member called ``name``, whose journals lie in ``folder``.

    In the process mode each process has a journal, ``name``, a hyphen and its process id; ``is_async`` counts there.
    """
    if mode is ExecutionMode.PROCESS:
        return partial(_async_in_process if is_async else _in_process, folder, name, work_ms)
    return (_async_worker if mode is ExecutionMode.ASYNC else _thread_worker)(Journal(folder, name), work_ms)


def _async_worker(journal: Journal, work_ms: float) -> Callable[[WorkItem], Any]:
    async def worker(item: WorkItem) -> None:
        deed = deed_of(item, work_ms)
        with journal.run(item):
            await asyncio.sleep(deed.seconds)
            if deed.fails:
                raise ValueError("told to fail")

    return worker


def _thread_worker(journal: Journal, work_ms: float) -> Callable[[WorkItem], None]:
    def worker(item: WorkItem) -> None:
        deed = deed_of(item, work_ms)
        with journal.run(item):
            time.sleep(deed.seconds)
            if deed.fails:
                raise ValueError("told to fail")

    return worker


_journals: dict[str, Journal] = {}


def _in_process(folder: Path, name: str, work_ms: float, item: WorkItem) -> None:
    deed = deed_of(item, work_ms)
    with _journal(folder, name).run(item):
        time.sleep(deed.seconds)
        _end(deed)


async def _async_in_process(folder: Path, name: str, work_ms: float, item: WorkItem) -> None:
    deed = deed_of(item, work_ms)
    with _journal(folder, name).run(item):
        await asyncio.sleep(deed.seconds)
        _end(deed)


def _journal(folder: Path, name: str) -> Journal:
    if name not in _journals:
        _journals[name] = Journal(folder, f"{name}-{os.getpid()}")
    return _journals[name]


def _end(deed: Deed) -> None:
    if deed.dies:
        os.kill(os.getpid(), signal.SIGKILL)
    if deed.fails:
        raise ValueError("told to fail")
