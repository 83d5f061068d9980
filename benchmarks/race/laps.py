"""Runs one lap: a contender in a process of its own, or Java's machine that lives for the whole race."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, Any, Final

from race.environments import java_command
from race.lap_plan import FIGURES, STARTED, LapPlan

Figures = dict[str, float]
ERROR: Final = re.compile(r"^[\w.]*(Error|Exception)\b")
FEWEST_WARM_UPS: Final = 3
MOST_WARM_UPS: Final = 5
WARM_WHEN_FASTER_BY: Final = 1.1
GRACE_SECONDS: Final = 45.0
"""Beyond the time to start and the cap: what a contender may take to begin, to commit and to leave."""


class LapFailedError(Exception):
    """A lap gave no figures; the message holds the end of what its process wrote."""


class Runner:
    """A running process of a contender. Killed, with all its processes, when the block ends."""

    def __init__(self, command: list[str], environment: Mapping[str, str], *, takes_plans: bool = False) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed in close()
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE if takes_plans else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def give(self, plan: LapPlan) -> None:
        """Hand over a plan, where the process takes more than one."""
        assert self._process.stdin is not None
        self._process.stdin.write(plan.to_json() + "\n")
        self._process.stdin.flush()

    def figures(self, seconds: float, when_started: Callable[[], None] = lambda: None) -> Figures:
        """Wait for the figures; ``when_started`` is called with the first delivery. Raises LapFailedError."""
        watchdog = threading.Timer(seconds, self.kill)
        watchdog.start()
        try:
            lines: IO[str] | None = self._process.stdout
            assert lines is not None
            for line in lines:
                if line.startswith(FIGURES):
                    return {name: float(value) for name, value in json.loads(line.removeprefix(FIGURES)).items()}
                if line.strip() == STARTED:
                    when_started()
        finally:
            watchdog.cancel()
        self._process.wait()
        self._errors.seek(0)
        raise LapFailedError(f"no figures, code {self._process.returncode}: {_said(self._errors.read())}")

    def wait_left(self, seconds: float) -> None:
        """Wait until the process has ended by itself, at most so long."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill -9 for the process and all that it started, also where it has left them behind."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()


@contextmanager
def running(command: list[str], environment: Mapping[str, str], *, takes_plans: bool = False) -> Iterator[Runner]:
    """A runner for the length of a block."""
    runner = Runner(command, environment, takes_plans=takes_plans)
    try:
        yield runner
    finally:
        runner.close()


def patience(plan: LapPlan) -> float:
    """How long a lap may take in all."""
    return plan.start_seconds + plan.cap_seconds + GRACE_SECONDS


class JavaMachine:
    """Java's peer: one virtual machine for all laps; a new one when the last lap was not left in order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._runner: Runner | None = None

    def lap(self, plan: LapPlan, warm_up: LapPlan | None, when_started: Callable[[], None]) -> Figures:
        """Run a lap; a machine that was just started first runs ``warm_up`` until it is warm."""
        if self._runner is None or not self._runner.is_running:
            self.close()
            self._runner = Runner(java_command(self._say), os.environ, takes_plans=True)
            if warm_up is not None:
                self._warm(warm_up)
        return self._one(plan, when_started)

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _warm(self, plan: LapPlan) -> None:
        """Laps until one is hardly faster than the best before: the code is compiled by then."""
        best = 0.0
        for number in range(MOST_WARM_UPS):
            rate = self._one(replace(plan, group=f"{plan.group}-{number}"), lambda: None)["messages_per_second"]
            self._say(f"java: warming up, {rate:,.0f} messages/s")
            if number + 1 >= FEWEST_WARM_UPS and rate < best * WARM_WHEN_FASTER_BY:
                return
            best = max(best, rate)

    def _one(self, plan: LapPlan, when_started: Callable[[], None]) -> Figures:
        assert self._runner is not None
        try:
            self._runner.give(plan)
            return self._runner.figures(patience(plan), when_started)
        except (LapFailedError, BrokenPipeError):
            self.close()
            raise


def _said(errors: str) -> str:
    """The last error in what a process wrote, or else its last line."""
    lines = [line for line in errors.splitlines() if line.strip()] or ["it wrote nothing"]
    return next((line for line in reversed(lines) if ERROR.match(line)), lines[-1])


def sender(plan: LapPlan, order: Mapping[str, Any], environment: Mapping[str, str]) -> Callable[[], None]:
    """The sender of paced messages: called when the lap has started."""
    command = [sys.executable, "-m", "race.paced", json.dumps({"topic": plan.topic, **order})]
    return lambda: _send(command, environment, patience(plan))


def _send(command: list[str], environment: Mapping[str, str], seconds: float) -> None:
    sent = subprocess.run(
        command,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if sent.returncode != 0:
        raise LapFailedError(f"the sender failed: {sent.stderr[-500:]}")
