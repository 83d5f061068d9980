"""``run --reload``: a run in its own process, which is restarted whenever a file changes.

This process never imports the worker. The old run drains before the new one begins: both would be members of the group.
The child leads a process group, so that Ctrl-C reaches it once, through this process. It holds the end of a pipe on
which nothing is ever sent: when this process ends for any reason, the child notices and drains.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Final, Self

from pyrallel_consumer.cli.command import EXIT_OK, EXIT_SIGNALLED
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.run.settings import RunSettings
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.log import Log
from pyrallel_consumer.runtime.life.stop_signals import signals_to_take

LIFELINE: Final = "_PYRALLEL_LIFELINE"
"""The variable with a run's file descriptor that is closed when its supervisor ends."""
LOOK_MS: Final = 200
"""How soon it is noticed that a run has ended by itself."""

logger = Log("pyrallel_consumer.run")


def run_with_reload(flags: Flags, settings: RunSettings) -> int:
    """Run until a signal; returns the exit code of the last run. Raises ConfigurationError without watchfiles."""
    try:
        from watchfiles import PythonFilter, watch  # noqa: PLC0415 -- an extra that only this needs
    except ImportError:
        raise ConfigurationError("--reload needs watchfiles: pip install 'pyrallel-consumer[reload]'") from None
    folders = settings.run.reload_dir or [settings.run.app_dir]
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigurationError(f"--reload-dir {folder} is no folder")
    logger.info(
        "watching %s; a change starts the worker again", ", ".join(str(Path(each).resolve()) for each in folders)
    )
    with Supervisor([sys.executable, "-m", "pyrallel_consumer", "run", *arguments_of(flags)]) as supervisor:
        supervisor.start()
        for changes in watch(
            *folders,
            watch_filter=PythonFilter(extra_extensions=(".env",)),
            stop_event=supervisor.stopping,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            supervisor.look()
            if changes and not supervisor.stopping.is_set():
                supervisor.restart(sorted(os.path.relpath(path) for _, path in changes))
        return supervisor.wait()


def arguments_of(flags: Flags, *, is_member: bool = False, is_burst: bool = False) -> list[str]:
    """The command line of one run with these flags, without ``--reload``. ``is_member``: without an endpoint, too."""
    options: list[tuple[str, object]] = [
        *(("--topic", topic) for topic in flags.topics),
        ("--lifespan", flags.lifespan),
        ("--bootstrap-servers", flags.bootstrap_servers),
        ("--group", flags.group),
        ("--mode", flags.mode),
        ("--concurrency", flags.concurrency),
        ("--max-attempts", flags.max_attempts),
        ("--metrics-port", None if is_member else flags.metrics_port),
        ("--app-dir", flags.app_dir),
        ("--log-format", flags.log_format),
        ("--log-level", flags.log_level),
        ("--log-config", flags.log_config),
    ]
    given = [f"{name}={value}" for name, value in options if value is not None]
    if flags.fail_on_dead_letters is not None:
        given.append("--fail-on-dead-letters" if flags.fail_on_dead_letters else "--no-fail-on-dead-letters")
    return [
        *given,
        "--burst" if is_burst else "--no-burst",
        "--no-reload",
        "--consumers=1",
        *(["--", flags.worker] if flags.worker is not None else []),
    ]


class Supervisor:
    """One run after the other. While the block runs, SIGINT and SIGTERM are handed on, and set ``stopping``."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._is_told = False
        self._lifeline, self._held = os.pipe()
        self._before = {number: signal.getsignal(number) for number in signals_to_take()}
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            self._child.wait()
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._lifeline)
        os.close(self._held)

    def start(self) -> None:
        self._is_told = False
        self._child = subprocess.Popen(
            self._command,
            env=os.environ | {LIFELINE: str(self._lifeline)},
            pass_fds=(self._lifeline,),
            process_group=0,
        )
        if self.stopping.is_set():  # the signal came while it was being started
            self._child.terminate()

    def restart(self, changed: Iterable[str]) -> None:
        """End the run, in order, and begin another; unless a signal comes meanwhile."""
        logger.info("changed: %s", ", ".join(changed))
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            self._child.wait()
        if not self.stopping.is_set():
            self.start()

    def look(self) -> None:
        """Log once that a run has ended by itself: the next one begins with the next change."""
        if self._child is not None and not self._is_told and self._child.poll() is not None:
            self._is_told = True
            if not self.stopping.is_set():
                logger.warning("the run ended with exit code %d; waiting for a change", code_of(self._child))

    def wait(self) -> int:
        """The last run's exit code, after it has ended; 0 if it had ended before the stop."""
        if self._child is None or self._is_told:
            return EXIT_OK
        self._child.wait()
        return code_of(self._child)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.stopping.set()
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


def code_of(child: subprocess.Popen[bytes]) -> int:
    """The exit code of an ended process; like a shell's, 128 + the signal's number if a signal killed it."""
    return child.returncode if child.returncode >= 0 else EXIT_SIGNALLED - child.returncode


def hold_lifeline() -> None:
    """Called in a supervised run: make it drain when its supervisor is gone."""
    held = os.environ.pop(LIFELINE, None)
    if held is None:
        return
    descriptor = int(held)

    def wait_for_the_end() -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    os.set_inheritable(descriptor, False)
    threading.Thread(target=wait_for_the_end, name="pyrallel-lifeline", daemon=True).start()
