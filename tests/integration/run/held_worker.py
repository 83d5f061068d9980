"""Lifespans and workers that note when they are entered, called and left; for worker processes too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Self

from pyrallel_consumer import WorkItem

database: ContextVar[str] = ContextVar("database")


def note(folder: str, *words: object) -> None:
    with (Path(folder) / "told").open("a") as told:
        told.write(" ".join(map(str, (os.getpid(), *words))) + "\n")


def told_in(folder: Path) -> list[list[str]]:
    """Lines of words, the first of which is the process."""
    told = folder / "told"
    return [line.split() for line in told.read_text().splitlines()] if told.exists() else []


@contextmanager
def plain(folder: str) -> Iterator[None]:
    note(folder, "enters")
    database.set("open")
    yield
    note(folder, "leaves", database.get())


@asynccontextmanager
async def asynchronous(folder: str) -> AsyncIterator[None]:
    await asyncio.sleep(0.01)
    with plain(folder):
        yield
        await asyncio.sleep(0.01)


@contextmanager
def failing(folder: str, where: str) -> Iterator[None]:
    note(folder, "enters")
    if where == "before":
        raise OSError("no database")
    yield
    note(folder, "leaves")
    raise OSError("the database is gone")


def work(folder: str, item: WorkItem) -> None:
    note(folder, "works", item.offset, database.get("missing"))


async def work_async(folder: str, item: WorkItem) -> None:
    work(folder, item)


class HeldWorker:
    """A worker that is a context manager itself."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        note(self._folder, "enters")
        database.set("open")
        return self

    def __exit__(self, *_: object) -> None:
        note(self._folder, "leaves", database.get())

    def __call__(self, item: WorkItem) -> None:
        work(self._folder, item)


class AsyncHeldWorker:
    def __init__(self, folder: str) -> None:
        self._folder = folder

    async def __aenter__(self) -> Self:
        note(self._folder, "enters")
        database.set("open")
        return self

    async def __aexit__(self, *_: object) -> None:
        note(self._folder, "leaves", database.get())

    async def __call__(self, item: WorkItem) -> None:
        work(self._folder, item)
