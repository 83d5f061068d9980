"""A worker process: loads the worker once, then runs the items that come in, in their order, until the socket ends.

It imports as little as possible, because every process pays for each import. The engine learns everything through
the socket and the marker. A failure or a skipped item is reported before the marker passes it, so the marker only ever
confirms items that returned.
"""

from __future__ import annotations

import contextvars
import importlib
import inspect
import logging
import os
import pickle
import signal
import socket
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import unpacked_item
from pyrallel_consumer.errors import WorkerMismatchError
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.boot_clock import boot_seconds
from pyrallel_consumer.execution_plane.processes.child.frame_sender import FrameSender
from pyrallel_consumer.execution_plane.processes.child.lifeline import hold
from pyrallel_consumer.execution_plane.processes.forked_children import STOP_SIGNALS, DefaultsInForkedChildren
from pyrallel_consumer.execution_plane.processes.log_fields import log_fields
from pyrallel_consumer.execution_plane.processes.progress_marker import ProgressMarker
from pyrallel_consumer.execution_plane.processes.remote_error import packed_error, packed_refusal
from pyrallel_consumer.execution_plane.processes.setup import Setup, loading
from pyrallel_consumer.record import holds_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan
    from pyrallel_consumer.message import Row

    Worker = Callable[..., object]

FLUSH_SECONDS = 0.005
"""Ended items are reported after this time at the latest, while items end: each report costs the engine a turn."""
LEASE_LOOK_SECONDS = 0.005
"""How often a process checks whether it may begin items again."""


def main(socket_fd: int, lifeline_fd: int, marker_fd: int) -> None:
    """The life of a worker process. It ignores the signals that stop the program: the engine handles them."""
    for number in STOP_SIGNALS:
        # Not SIG_IGN: programs that the worker starts would inherit that and could not be stopped any more.
        signal.signal(number, _do_nothing)
        signal.siginterrupt(number, False)
    DefaultsInForkedChildren(_do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    hold(lifeline_fd)
    process = WorkerProcess(socket.socket(fileno=socket_fd), marker_fd)
    try:
        process.serve()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(1)  # The engine is gone, so nobody needs an orderly end.


class WorkerProcess:
    """Its end of the socket, and the worker."""

    def __init__(self, connection: socket.socket, marker_fd: int) -> None:
        self._socket = connection
        self._marker_fd = marker_fd
        self._reader = frames.FrameReader()
        self.send = FrameSender(connection).send
        self._worker: Worker = _do_nothing
        self._context = contextvars.Context()
        self._lifespan: Lifespan | None = None
        self._done = 0
        self._ended = 0
        self._busy_since = 0.0
        self._failures = 0
        self._broken: dict[int, int] = {}
        """Runs with a failed item, and the number of that failure: they go on when the engine has seen the failure."""

    def serve(self) -> None:
        """Read frames and obey them until the socket ends."""
        while data := self._socket.recv(frames.READ_BYTES):
            self._busy_since = monotonic()
            for kind, body in self._reader.feed(data):
                if kind == frames.ITEMS:
                    self._run(*pickle.loads(body))  # noqa: S301 -- from our own engine
                    continue
                setup = Setup(*pickle.loads(body))  # noqa: S301 -- from our own engine
                if not self._load(setup):
                    return
                if setup.has_loop:
                    self._serve_with_loop(setup)
                    return
                self._marker = ProgressMarker(self._marker_fd)
                self.send(frames.READY)
            self._flush(monotonic())
        self._leave()

    def _serve_with_loop(self, setup: Setup) -> None:
        from pyrallel_consumer.execution_plane.processes.child import loop_process  # noqa: PLC0415 -- brings asyncio with it

        process = loop_process.LoopProcess(
            self._socket, self.send, self._marker_fd, self._worker, setup.timeout_seconds
        )
        process.run(self._lifespan)

    # Becoming a worker

    def _load(self, setup: Setup) -> bool:
        logging.getLogger().handlers[:] = [_ToTheEngine(self)]
        for name, level in setup.log_levels.items():
            logging.getLogger(name).setLevel(level)
        try:
            self._worker, lifespan = _loaded_worker(setup)
            context = contextvars.copy_context()
            if lifespan is not None and not setup.has_loop:
                lifespan.enter_in(context)
        except BaseException as error:  # noqa: BLE001 -- the user's modules and initializer may raise anything
            self.send(frames.REFUSED, packed_refusal(error))
            return False
        self._context, self._lifespan = context, lifespan
        return True

    def _leave(self) -> None:
        """All sent items are done, and no more come: leave the lifespan."""
        if self._lifespan is None:
            return
        try:
            self._lifespan.leave_in(self._context)
        except BaseException as error:  # noqa: BLE001 -- the user's code may raise anything
            self.send(frames.UNLEFT, packed_refusal(error))

    # Running items

    def _run(self, first: int, generation: int, failures_seen: int, runs: list[int], rows: list[Row]) -> None:
        marker, worker, context, broken = self._marker, self._worker, self._context, self._broken
        for run in [run for run, failure in broken.items() if failure <= failures_seen]:
            del broken[run]
        now = monotonic()
        for number, (run, row) in enumerate(zip(runs, rows, strict=True), first):
            if run in broken:
                self.send(frames.SKIPPED, frames.skipped(number, number))
                continue
            item = unpacked_item(row)
            run_attempt = context.copy().run
            marker.begin(number, now)
            if boot_seconds() > marker.starts_until:
                self._wait_for_lease(number, generation)
            if marker.generation > generation:
                marker.begin_nothing()
                self.send(frames.SKIPPED, frames.skipped(number, first + len(rows) - 1))
                return
            try:  # The worker begins right after the lease was looked at: a freeze in between cannot be noticed.
                result = run_attempt(worker, item)
                if result is not None:
                    self._tell_returned(number, result)
            except BaseException as error:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
                self._failures += 1
                if run:
                    broken[run] = self._failures
                self.send(frames.FAILED, pickle.dumps((number, tuple(packed_error(error)))))
            marker.end(number)
            self._done = number
            self._ended += 1
            now = monotonic()
            if now - self._busy_since > FLUSH_SECONDS:
                self._flush(now)

    def _tell_returned(self, number: int, result: object) -> None:
        """Send returned records; any other value is ignored. Raises if the value is wrong or cannot be sent."""
        if inspect.iscoroutine(result):
            result.close()
            raise WorkerMismatchError(
                "the worker is a plain function and returned a coroutine, which nobody awaits: make it `async def`, "
                "and its processes run event loops"
            )
        if holds_record(result):
            self.send(frames.RETURNED, pickle.dumps((number, result), frames.PICKLE_PROTOCOL))

    def _wait_for_lease(self, number: int, generation: int) -> None:
        """Begin nothing while the engine hangs, or does not know whether it still owns its partitions.

        Returns when item ``number`` is marked as running, unless it was recalled.
        """
        marker = self._marker
        marker.begin_nothing()
        self._flush(monotonic())
        while boot_seconds() > marker.starts_until and marker.generation <= generation:
            sleep(LEASE_LOOK_SECONDS)
        self._busy_since = monotonic()
        marker.begin(number, self._busy_since)

    def _flush(self, now: float) -> None:
        if self._ended:
            self.send(frames.PROGRESS, frames.progress(self._done, (now - self._busy_since) / self._ended))
            self._ended = 0
            self._busy_since = now


def _loaded_worker(setup: Setup) -> tuple[Worker, Lifespan | None]:
    sys.path[:] = setup.path
    sys.argv[:] = setup.arguments
    os.chdir(setup.folder)
    if setup.main:
        from multiprocessing import spawn  # noqa: PLC0415 -- most workers do not need it, and every process would pay

        with loading():
            spawn.prepare(setup.main)
    worker, lifespan = pickle.loads(setup.pickled_worker)  # noqa: S301 -- from our own engine
    if setup.initializer is not None:
        _initialize(setup.initializer)
    return worker, lifespan


def _initialize(initializer: bytes | str) -> None:
    if isinstance(initializer, bytes):
        pickle.loads(initializer)()  # noqa: S301 -- from our own engine
        return
    module, _, name = initializer.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    found()


class _ToTheEngine(logging.Handler):
    """Sends log records to the engine, whose process has the program's handlers.

    It has no handler lock. Otherwise a thread could hold the lock and wait for another thread's frame, while a
    finalizer in that other thread waits for the lock.
    """

    def __init__(self, process: WorkerProcess) -> None:
        super().__init__()
        self._process = process
        self._formatter = logging.Formatter()

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        fields = log_fields(record, self._formatter)
        try:
            body = pickle.dumps(fields)
        except Exception:  # noqa: BLE001 -- extras of the user's that cannot be pickled
            body = pickle.dumps({name: value for name, value in fields.items() if type(value) in {int, float, str}})
        self._process.send(frames.LOG, body)


def _do_nothing(*_: object) -> None:
    pass
