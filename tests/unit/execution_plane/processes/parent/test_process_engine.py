"""What the process engine sends to its processes; a process and its frames are scripted."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import WorkItem, unpacked_item
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.parent.members.serial_member import SerialMember
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine
from pyrallel_consumer.execution_plane.processes.progress_marker import ProgressMarker
from pyrallel_consumer.testing.messages import work_item


class ScriptedProcess:
    """``unread`` are the frames that it has sent and the engine has not read."""

    pid = 7
    is_killed = False
    is_closing = False

    def __init__(self) -> None:
        self.sent: list[tuple[int, list[int]]] = []
        """The first number and the offsets of each frame of items."""
        self.unread: list[tuple[int, bytes]] = []
        self.tell: Callable[[int, bytes], None] = print

    def send(self, _kind: int, body: bytes) -> None:
        first, _generation, _failures, _runs, rows = pickle.loads(body)  # noqa: S301 -- from our own engine
        self.sent.append((first, [offset_of(row) for row in rows]))

    def read_all(self) -> None:
        while self.unread:
            self.tell(*self.unread.pop(0))

    def has_ended(self) -> bool:
        return False

    def look(self) -> None:
        pass


def offset_of(row: Any) -> int:
    return unpacked_item(row).offset


class ScriptedPool:
    def __init__(self, member: SerialMember) -> None:
        self.members = [member]

    async def open(self) -> None:
        pass

    def note_progress(self) -> None:
        pass


class Engine(ProcessEngine):
    """With one process, which has loaded the worker."""

    def _made_pool(self) -> Any:
        self.process, self.marker = ScriptedProcess(), ProgressMarker()
        self.member = member = SerialMember(self.process, self.marker, 0)  # type: ignore[arg-type]
        member.is_ready = True
        self.process.tell = lambda kind, body: self.told(member, kind, body)
        pool = self._pool = ScriptedPool(member)  # type: ignore[assignment]
        self._members = self._backlog.takers = pool.members
        return pool


def do_nothing(_: WorkItem) -> None:
    pass


async def test_what_is_sent_while_a_recall_is_taken_in_is_not_taken_back_and_sent_again() -> None:
    engine = Engine(do_nothing, RetryPolicy(), 100, 1)
    await engine.start(CompletionChannel(lambda: None), asyncio.get_running_loop().time)
    items = [work_item(offset=offset, key=b"%d" % offset) for offset in range(4)]
    engine.submit_all(items)
    await asyncio.sleep(0)
    assert engine.process.sent == [(1, [0, 1, 2, 3])]
    engine.marker.begin(1, 0.0)

    engine.withdraw(lambda item: item is items[3])
    # Meanwhile the process ends its item, sees the recall, and gives the others back.
    engine.marker.end(1)
    engine.marker.begin_nothing()
    engine.process.unread += [(frames.PROGRESS, frames.progress(1, 0.002)), (frames.SKIPPED, frames.skipped(2, 4))]
    while engine.member.recalled_at is not None:
        await asyncio.sleep(0)

    await asyncio.sleep(0)  # Items that are due soon are sent now.
    assert [offset for _, offsets in engine.process.sent[1:] for offset in offsets] == [1, 2]
