"""``run --consumers N``: N runs in processes of their own, all members of the group, under one supervisor.

This process never imports the worker. A member that ends by itself is started again, each time after a longer wait; in
a burst only a member that was killed, until one has found the burst done. The first signal drains all members. A second
one aborts them, and kills members that do not react. Each member leads its own process group, so that Ctrl-C reaches it
only once, through this process. When this process is gone, they drain (see ``reload.hold_lifeline``).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from math import inf
from types import FrameType
from typing import TYPE_CHECKING, Final, Self

from pyrallel_consumer.cli.command import EXIT_CUT_OFF, EXIT_FAILED, EXIT_OK, EXIT_SIGNALLED
from pyrallel_consumer.cli.run.log import MEMBER
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.run.settings import RunSettings
from pyrallel_consumer.cli.run.supervisors.reload import LIFELINE, arguments_of, code_of
from pyrallel_consumer.cli.run.supervisors.restarts import STEADY_SECONDS, Restarts, one_exit_code
from pyrallel_consumer.log import Log
from pyrallel_consumer.runtime.life.stop_signals import signals_to_take

if TYPE_CHECKING:
    from pyrallel_consumer.observability.http.http_endpoint import HttpEndpoint

logger = Log("pyrallel_consumer.run")

LOOK_SECONDS: Final = 0.2
"""How soon it is noticed that a member has ended by itself."""
DEAF_SECONDS: Final = 15.0
"""A member that runs this long after the second signal is killed: its worker keeps the event loop busy."""
_STATIC_MEMBER: Final = "group.instance.id"


def run_members(count: int, flags: Flags, settings: RunSettings) -> int:
    """Run ``count`` members until a signal, or until no member can run; returns the exit code."""
    launcher = _Launcher(flags, settings)
    with Members(count, launcher.start, is_burst=settings.run.burst) as members:
        endpoint = launcher.opened_endpoint(members)
        try:
            return members.run()
        finally:
            if endpoint is not None:
                endpoint.close()


class _Launcher:
    """Starts the process of a member, with its own number, port and settings."""

    def __init__(self, flags: Flags, settings: RunSettings) -> None:
        arguments = arguments_of(flags, is_member=True, is_burst=settings.run.burst)
        self._command = [sys.executable, "-m", "pyrallel_consumer", "run", *arguments]
        self._kafka = settings.kafka
        self._metrics = settings.kafka.metrics

    def start(self, member: Member, lifeline: int) -> subprocess.Popen[bytes]:
        mine = {LIFELINE: str(lifeline), MEMBER: str(member.number)}
        if self._metrics.enabled:
            member.port = _free_port()
            mine |= {"METRICS_ENABLED": "true", "METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(member.port)}
        if _STATIC_MEMBER in self._kafka.librdkafka:
            own = {_STATIC_MEMBER: f"{self._kafka.librdkafka[_STATIC_MEMBER]}-{member.number}"}
            mine["KAFKA_LIBRDKAFKA"] = json.dumps(dict(self._kafka.librdkafka) | own)
        return subprocess.Popen(self._command, env=os.environ | mine, pass_fds=(lifeline,), process_group=0)

    def opened_endpoint(self, members: Members) -> HttpEndpoint | None:
        """The endpoint for all members, None if metrics are off. ConfigurationError if the address is not available."""
        if not self._metrics.enabled:
            return None
        from pyrallel_consumer.observability.http.http_endpoint import HttpEndpoint  # noqa: PLC0415 -- as below
        from pyrallel_consumer.observability.http.members import member_routes  # noqa: PLC0415 -- only where wanted

        endpoint = HttpEndpoint(self._metrics.host, self._metrics.port, member_routes(members.ports))
        endpoint.start()
        return endpoint


class Member:
    """One member, numbered from 1. ``port`` is that of its endpoint on this machine, None if it has none."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.began_at = 0.0
        self.start_at = 0.0
        """When it starts again; it never does after its end in a burst."""
        self.restarts = Restarts()

    def is_steady(self, now: float) -> bool:
        return self.process is not None and now - self.began_at >= STEADY_SECONDS


Start = Callable[[Member, int], "subprocess.Popen[bytes]"]


class Members:
    """``count`` members, each started by ``start``, which is given the member and the descriptor of its lifeline.

    While the block runs, SIGINT and SIGTERM are handed on to all. ``is_burst``: they end by themselves.
    """

    def __init__(self, count: int, start: Start, *, is_burst: bool = False) -> None:
        self._all = [Member(number) for number in range(1, count + 1)]
        self._start = start
        self._codes: list[int] = []
        self._signals: list[int] = []
        self._handed_on = 0
        self._is_burst = is_burst
        self._is_stopping = False
        """From now on no member is started again."""
        self._deaf_at = inf
        self._wake = threading.Event()
        self._lifeline, self._held = os.pipe()
        self._before = {number: signal.getsignal(number) for number in signals_to_take()}

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(signal.SIGTERM)
        for member in self._all:
            if member.process is not None:
                member.process.wait()
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._lifeline)
        os.close(self._held)

    def ports(self) -> dict[int, int]:
        """The port of each running member's endpoint. For any thread."""
        return {member.number: member.port for member in self._all if member.process is not None and member.port}

    def run(self) -> int:
        """Keep them running until a signal, the end of the burst, or until that is useless; returns one exit code."""
        while not all(member.process is None and (self._is_stopping or member.start_at == inf) for member in self._all):
            now = time.monotonic()
            self._hand_on(now)
            if now >= self._deaf_at:
                self._tell(signal.SIGKILL)
            for member in self._all:
                if member.process is not None and member.process.poll() is not None:
                    self._note_end(member, code_of(member.process), now)
                if member.process is None and not self._is_stopping and member.start_at <= now:
                    member.process, member.began_at = self._start(member, self._lifeline), now
                    logger.info("member %d of %d is process %d", member.number, len(self._all), member.process.pid)
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
        if len(self._signals) > 1:
            return EXIT_SIGNALLED + self._signals[1]
        return one_exit_code(self._codes)

    def _note_end(self, member: Member, code: int, now: float) -> None:
        member.process = None
        if self._is_stopping:
            # The first signal ends a member at once that has not begun to consume: it had nothing to drain.
            is_drained = code - EXIT_SIGNALLED in self._before and not self._is_burst
            self._codes.append(EXIT_OK if is_drained else code)
            return
        if self._is_burst and code in {EXIT_OK, EXIT_FAILED, EXIT_CUT_OFF}:
            self._codes.append(code)
            member.start_at = inf
            self._is_stopping = code == EXIT_OK
            return
        is_another_steady = any(other.is_steady(now) for other in self._all if other is not member)
        lived_seconds = now - member.began_at
        wait_seconds = member.restarts.wait_seconds(code, lived_seconds, is_another_steady=is_another_steady)
        if wait_seconds is None:
            logger.error("member %d ended with exit code %d: the others are stopped", member.number, code)
            self._codes.append(code)
            self._is_stopping = True
            self._tell(signal.SIGTERM)
            return
        logger.warning(
            "member %d ended with exit code %d after %.1f s; it starts again in %.0f s",
            member.number,
            code,
            lived_seconds,
            wait_seconds,
        )
        member.start_at = now + wait_seconds

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)
        self._wake.set()

    def _hand_on(self, now: float) -> None:
        for number in self._signals[self._handed_on :]:
            self._handed_on += 1
            self._is_stopping = True
            if self._handed_on == 2:  # noqa: PLR2004 -- the second aborts
                self._deaf_at = now + DEAF_SECONDS
            self._tell(number)

    def _tell(self, number: int) -> None:
        for member in self._all:
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(number)


def _free_port() -> int:
    """A port that is free now. If another program takes it first, the member ends, and restarts with another one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
