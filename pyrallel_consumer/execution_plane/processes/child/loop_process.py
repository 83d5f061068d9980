"""A worker process with an event loop: runs many messages at once, each as a task of its own, until the socket ends.

The counterpart of ``worker_process`` for workers that are ``async def``, which hands over to it once the worker is
loaded. Each message makes one attempt here, and its end is reported; the engine makes retries. The marker has
everything that the engine must know even about a killed process.
"""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import sys
from array import array
from asyncio import CancelledError, Task
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyrallel_consumer.dto import unpacked_item
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.boot_clock import boot_seconds
from pyrallel_consumer.execution_plane.processes.remote_error import packed_error, packed_refusal
from pyrallel_consumer.execution_plane.processes.slot_marker import BEGUN, RETURNED, SlotMarker, state_word
from pyrallel_consumer.foreign_errors import drop_first_frame
from pyrallel_consumer.record import holds_record

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan
    from pyrallel_consumer.message import Row

    Send = Callable[[int, bytes], None]

BEGIN_SECONDS: Final = 0.002
"""How long first steps may take, together, before the loop's other callbacks have a turn."""
FLUSH_SECONDS: Final = 0.001
"""Ends are reported at most once in this time: each report costs the engine a turn."""
MANY: Final = 64
MANY_FLUSH_SECONDS: Final = 0.003
"""The same while many messages run: the engine does not need the next end soon."""
LOOK_SECONDS: Final = 0.25
"""How often a process looks at its clock while all that runs is overdue."""
LEASE_LOOK_SECONDS: Final = 0.005
"""How often a process checks whether it may begin messages again."""

_Task: Any = Task
_TASK_OPTIONS: Final = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Sent(NamedTuple):
    """A message that has not begun."""

    generation: int
    slot: int
    number: int
    row: Row


class LoopProcess:
    """A loop and the messages that it runs.

    ``send`` sends a frame of a kind with a body. ``timeout_seconds`` limits one attempt, None for no limit.
    """

    def __init__(
        self,
        connection: socket.socket,
        send: Send,
        marker_fd: int,
        worker: Callable[[WorkItem], Any],
        timeout_seconds: float | None,
    ) -> None:
        self._socket = connection
        self._reader = frames.FrameReader()
        self._send = send
        self._marker = SlotMarker(fd=marker_fd)
        self._worker = worker
        self._timeout_seconds = timeout_seconds
        self._sent: deque[Sent] = deque()
        self._running: dict[int, tuple[Task[None], float]] = {}
        """By slot, the oldest first: the task, and since when it runs."""
        self._overdue: set[int] = set()
        self._returned = array(frames.SLOT_TYPE)
        self._flushed_at = 0.0
        self._is_flush_due = False
        self._is_begin_due = False
        self._watch: asyncio.TimerHandle | None = None
        self._context = contextvars.Context()

    def run(self, lifespan: Lifespan | None) -> None:
        """Serve to the end of the socket, within the lifespan."""
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._live(lifespan))

    async def _live(self, lifespan: Lifespan | None) -> None:
        """One task enters and leaves the lifespan, as task groups require."""
        if lifespan is not None:
            try:
                await lifespan.enter()
            except BaseException as error:  # noqa: BLE001 -- the user's code may raise anything
                self._send(frames.REFUSED, packed_refusal(error))
                return
        await self._serve()
        if lifespan is not None:
            try:
                await lifespan.leave()
            except BaseException as error:  # noqa: BLE001 -- as above
                self._send(frames.UNLEFT, packed_refusal(error))

    async def _serve(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._context = contextvars.copy_context()
        self._send(frames.READY, b"")
        loop.add_reader(self._socket, self._read)
        try:
            await self._ended
        finally:
            loop.remove_reader(self._socket)
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # What the engine says

    def _read(self) -> None:
        data = self._socket.recv(frames.READ_BYTES)
        self._marker.turned(monotonic())
        if not data:
            if not self._ended.done():
                self._ended.set_result(None)
            return
        for kind, body in self._reader.feed(data):
            if kind == frames.ITEMS:
                generation, first, slots, rows = frames.parsed_slots(body)
                for number, (slot, row) in enumerate(zip(slots, rows, strict=True), first):
                    self._sent.append(Sent(generation, slot, number, row))
            elif kind == frames.CANCEL:
                for slot in array(frames.SLOT_TYPE, body):
                    self._cancel(slot)
        if self._sent and not self._is_begin_due:
            self._begin_some()

    def _cancel(self, slot: int) -> None:
        if slot in self._running:
            self._running[slot][0].cancel()
            return
        for sent in self._sent:
            if sent.slot == slot:
                self._sent.remove(sent)
                self._send(frames.SKIPPED, frames.skipped(slot, sent.number))
                return

    # Beginning

    def _begin_some(self) -> None:
        """Begin sent messages, for a while; the rest begins in a later turn of the loop."""
        self._is_begin_due = False
        marker, slots, sent, begin = self._marker, self._marker.slots, self._sent, self._begin
        now = monotonic()
        give_way_at = now + BEGIN_SECONDS
        while sent:
            if boot_seconds() > marker.starts_until:
                marker.turned(now)
                self._drop_recalled()
                if self._sent:
                    self._is_begin_due = True
                    self._loop.call_later(LEASE_LOOK_SECONDS, self._begin_some)
                return
            generation, slot, number, row = sent.popleft()
            if marker.generation > generation:
                continue  # The engine finds nothing in its slot, and has it back.
            slots[slot] = state_word(number, BEGUN)
            if marker.generation > generation:
                slots[slot] = 0
                self._send(frames.SKIPPED, frames.skipped(slot, number))
                continue
            begin(slot, number, row, now)
            now = monotonic()
            if now >= give_way_at:
                self._is_begin_due = bool(sent)
                if sent:
                    self._loop.call_soon(self._begin_some)
                return

    def _drop_recalled(self) -> None:
        generation = self._marker.generation
        self._sent = deque(sent for sent in self._sent if sent.generation >= generation)

    def _begin(self, slot: int, number: int, row: Row, now: float) -> None:
        task: Task[None] = _Task(
            self._attempt(slot, number, row), loop=self._loop, context=self._context.copy(), **_TASK_OPTIONS
        )
        if task.done():
            return
        self._running[slot] = task, now
        if not _TASK_OPTIONS:
            task.add_done_callback(lambda _: self._note_end(slot, number))
        if self._watch is None and self._timeout_seconds is not None:
            self._watch = self._loop.call_later(self._timeout_seconds, self._look_for_overdue)

    async def _attempt(self, slot: int, number: int, row: Row) -> None:
        try:
            result = await self._worker(unpacked_item(row))
            if result is not None and holds_record(result):  # Before the marker says that it returned.
                self._send(frames.RETURNED, pickle.dumps((slot, result), frames.PICKLE_PROTOCOL))
        except BaseException as raised:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
            error = raised
        else:
            self._marker.slots[slot] = state_word(number, RETURNED)
            self._running.pop(slot, None)
            self._returned.append(slot)
            if not self._is_flush_due:
                self._flush_soon()
            return
        if type(error) is GeneratorExit and not self._loop.is_running():
            raise error  # The loop is gone and the interpreter closes the task: no code can take the error.
        drop_first_frame(error)  # Without ours.
        self._fail(slot, error)

    def _note_end(self, slot: int, number: int) -> None:
        """Report a task that was cancelled before its first step: it never ran our code."""
        if slot in self._running and self._marker.has(slot, number, BEGUN):
            self._fail(slot, CancelledError())

    # Telling

    def _fail(self, slot: int, error: BaseException) -> None:
        self._running.pop(slot, None)
        self._overdue.discard(slot)
        self._send(frames.FAILED, pickle.dumps((slot, tuple(packed_error(error)))))

    def _flush_soon(self) -> None:
        self._is_flush_due = True
        between_seconds = FLUSH_SECONDS if len(self._running) < MANY else MANY_FLUSH_SECONDS
        wait_seconds = self._flushed_at + between_seconds - monotonic()
        if wait_seconds > 0:
            self._loop.call_later(wait_seconds, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._flushed_at = monotonic()
        self._marker.turned(self._flushed_at)
        if self._overdue:
            self._overdue.difference_update(self._returned)
        self._send(frames.ENDED, self._returned.tobytes())
        del self._returned[:]

    # Time

    def _look_for_overdue(self) -> None:
        """Cancel, once, messages that have passed their timeout."""
        self._watch = None
        now = monotonic()
        self._marker.turned(now)
        timeout_seconds = self._timeout_seconds or 0.0
        overdue = array(frames.SLOT_TYPE)
        for slot, (task, began_at) in self._running.items():
            if slot in self._overdue:
                continue
            left_seconds = began_at + timeout_seconds - now
            if left_seconds > 0:
                self._watch = self._loop.call_later(left_seconds, self._look_for_overdue)
                break
            self._overdue.add(slot)
            overdue.append(slot)
            task.cancel()
        if self._watch is None and self._running:  # The engine is to see that the loop goes round.
            self._watch = self._loop.call_later(min(timeout_seconds, LOOK_SECONDS), self._look_for_overdue)
        if overdue:
            self._send(frames.OVERDUE, overdue.tobytes())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop factory of uvloop if it is installed, None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 -- an extra
    except ImportError:
        return None
    return uvloop.new_event_loop
