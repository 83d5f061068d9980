"""The members of a chaos run: one process at a time in each slot, and what was done to it, noted as troubles."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from tests.chaos.judge import Trouble
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.journal import SUFFIX

STOP_SECONDS: Final = 60.0
EXITS_IN_ORDER: Final = (0, 3)
"""The exit codes of a drained stop, and of a stop that cut work off and reported it."""
NOT_YET_UP: Final = -15
"""The exit code if the signal came before the process could handle it."""


class Slot:
    """One member's place. Its methods are called by one thread at a time; ``look`` is called by another."""

    def __init__(
        self, number: int, start: Callable[[int, str], ConsumerProcess], note: Callable[[Trouble], None]
    ) -> None:
        self.number = number
        self.odd_exits: list[tuple[int, str]] = []
        self.is_wanted = False
        self._start = start
        self._note = note
        self._makings = 0
        self._process: ConsumerProcess | None = None
        self._frozen_ns: int | None = None
        self._broken_ns: dict[str, int] = {}
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """The process id of the slot's member, or of its last one."""
        return f"m{self.number}.{self._makings}"

    def start(self) -> None:
        with self._lock:
            self.is_wanted = True
            if self._process is None:
                self._makings += 1
                self._process = self._start(self.number, self.name)

    def kill(self) -> None:
        with self._lock:
            self.is_wanted = False
            at_ns = time.monotonic_ns()
            if self._process is not None:
                self._process.kill()
                self._process = None
                self._note(Trouble("kill", self.name, at_ns, time.monotonic_ns()))

    def stop(self) -> None:
        """Stops the member as an operator would; an unexpected exit code is noted."""
        with self._lock:
            self.is_wanted = False
            process, self._process = self._process, None
        if process is not None:
            process.terminate()
            code = process.wait(STOP_SECONDS)
            if code != NOT_YET_UP or process.finished:
                self._note_exit(code)

    def freeze(self, *, with_children: bool) -> None:
        with self._lock:
            if self._process is not None and self._process.is_running:
                self._frozen_ns = time.monotonic_ns()
                self._process.freeze(with_children=with_children)

    def thaw(self) -> None:
        with self._lock:
            if self._process is not None and self._frozen_ns is not None:
                self._process.thaw(with_children=True)
                self._note(Trouble("freeze", self.name, self._frozen_ns, time.monotonic_ns()))
                self._frozen_ns = None

    def network_breaks(self, kind: str) -> None:
        self._broken_ns[kind] = time.monotonic_ns()

    def network_heals(self) -> None:
        for kind, since_ns in self._broken_ns.items():
            self._note(Trouble(kind, self.name, since_ns, time.monotonic_ns()))
        self._broken_ns.clear()

    def kill_child(self, folder: Path, share: float) -> None:
        """Kills one of the worker processes that have worked, the one at ``share`` (0 to 1) of their list."""
        alive = [pid for pid in self._child_pids(folder) if psutil.pid_exists(pid)]
        if alive:
            with suppress(ProcessLookupError):
                at_ns = time.monotonic_ns()
                os.kill(alive[min(int(share * len(alive)), len(alive) - 1)], signal.SIGKILL)
                self._note(Trouble("child killed", self.name, at_ns, time.monotonic_ns()))

    def _child_pids(self, folder: Path) -> list[int]:
        return sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{self.name}-*{SUFFIX}"))

    def look(self) -> None:
        """A process that ended by itself is noted and started again, as a supervisor would."""
        with self._lock:
            if self._process is not None and self._process.exit_code is not None and self.is_wanted:
                self._note_exit(self._process.exit_code)
                self._process = None
                self.start()

    def _note_exit(self, code: int) -> None:
        if code not in EXITS_IN_ORDER:
            self.odd_exits.append((code, self.name))


def member_settings(protocol: str, slot: int, bootstrap_servers: str, group: str) -> dict[str, Any]:
    """Arguments of KafkaConfig. ``protocol``: auto, classic, eager or consumer, with ``-static`` behind it or not."""
    name, _, static = protocol.partition("-")
    librdkafka: dict[str, Any] = {
        "message.timeout.ms": 3000,
        "topic.metadata.refresh.interval.ms": 2000,
        "reconnect.backoff.max.ms": 2000,
        "debug": "cgrp",
    }
    if static:
        librdkafka["group.instance.id"] = f"slot-{slot}"
    settings: dict[str, Any] = {"bootstrap_servers": bootstrap_servers, "consumer_group": group}
    if name in {"classic", "eager"}:
        settings["session_timeout_ms"] = 6000
        librdkafka["partition.assignment.strategy"] = "range" if name == "eager" else "cooperative-sticky"
    elif name == "consumer":
        librdkafka["group.protocol"] = "consumer"
    return settings | {"librdkafka": librdkafka}


def execution_settings(engine: str) -> dict[str, Any]:
    """Arguments of ExecutionConfig."""
    pool = {"async": {"max_in_flight": 64}, "thread": {"worker_pool_size": 16}, "process": {"worker_pool_size": 2}}
    retries = {"max_retries": 3, "retry_backoff_ms": 100, "retry_jitter_ms": 50, "task_timeout_ms": 1500}
    mode = engine.partition("-")[0]
    return {"mode": mode, **retries, **pool[mode]}


WORKERS: Final = {"async": 1, "thread": 16, "process": 2, "process-async": 2}
"""The most runs of a member that begin at the same moment: a freeze may hit all of them before their first line."""
