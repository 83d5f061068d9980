"""Workers that take batches, for every mode: messages say what the worker does, and a file records its calls."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyrallel_consumer import BatchFailed

if TYPE_CHECKING:
    from pyrallel_consumer import WorkItem


@dataclass
class Call:
    """One call of the worker: partition, offset, attempt and key of each message, and how it ended."""

    messages: list[tuple[int, int, int, str | None]]
    outcome: str


@dataclass
class BatchWorker:
    """``poison``: the call fails as a whole. ``named once``: this message fails by name, once. ``die``: kill -9."""

    log: Path

    def __call__(self, items: list[WorkItem]) -> None:
        assert type(items) is list
        if any(item.payload == b"die" for item in items):
            self._note(items, "died")
            os.kill(os.getpid(), signal.SIGKILL)
        if any(item.payload == b"poison" for item in items):
            self._note(items, "failed")
            raise ValueError("one of them is poison")
        named = {item: KeyError("named") for item in items if item.payload == b"named once" and item.attempt == 1}
        self._note(items, json.dumps([item.offset for item in named]))
        if named:
            raise BatchFailed(named)

    def _note(self, items: list[WorkItem], outcome: str) -> None:
        messages = [(item.partition, item.offset, item.attempt, item.key and item.key.decode()) for item in items]
        line = json.dumps([messages, outcome]) + "\n"
        file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


@dataclass
class AsyncBatchWorker(BatchWorker):
    """The same worker as a coroutine function."""

    async def __call__(self, items: list[WorkItem]) -> None:  # type: ignore[override]  # another kind of worker
        super().__call__(items)


def calls_of(log: Path) -> list[Call]:
    """All calls that were noted, in the order of their ends."""
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [Call([tuple(message) for message in messages], outcome) for messages, outcome in lines]
