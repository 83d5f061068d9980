"""Workers of these tests; their results go to files, because they run in other processes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path

from pyrallel_consumer import Record, WorkItem

MODEL: ContextVar[str] = ContextVar("MODEL", default="none")
logger = logging.getLogger("shop")


def folder(item: WorkItem) -> Path:
    return Path(dict(item.headers)["folder"].decode())  # type: ignore[union-attr]


def note(item: WorkItem, what: str) -> None:
    with (folder(item) / "journal").open("a") as journal:
        journal.write(f"{what} {item.key.decode() if item.key else '-'} {item.offset} {item.attempt} {os.getpid()}\n")


@asynccontextmanager
async def model() -> AsyncIterator[None]:
    """A lifespan that is entered once in each actor."""
    MODEL.set(f"loaded in {os.getpid()}")
    yield


async def with_model(item: WorkItem) -> Record:
    logger.warning("order %d", item.offset)
    is_loaded = MODEL.get() == f"loaded in {os.getpid()}"
    return Record("invoices", b"yes" if is_loaded else b"no", key=item.key)


async def in_batches(items: Sequence[WorkItem]) -> None:
    for item in items:
        note(item, f"batch{len(items)}")


async def waiting(item: WorkItem) -> None:
    note(item, "+")
    await asyncio.sleep(0.005)
    note(item, "-")


def computing(item: WorkItem) -> None:
    note(item, "+")
    data = item.payload or b""
    for _ in range(500):
        data = hashlib.sha256(data).digest()
    note(item, "-")


def deadly(item: WorkItem) -> None:
    """Kills its process as long as the file exists."""
    note(item, "+")
    if item.payload == b"deadly":
        if (folder(item) / "armed").exists():
            os._exit(1)
    else:
        time.sleep(0.002)
    note(item, "-")


def gated(item: WorkItem) -> None:
    """Waits for the file ``gate``."""
    note(item, "+")
    while not (folder(item) / "gate").exists():
        time.sleep(0.005)


async def nothing(item: WorkItem) -> None:
    pass
