"""A consumer in a process of its own, that tests may stop (SIGTERM), kill, or let run beside others of its group.

Run as a module with its settings as JSON it is that process; ``ConsumerProcess`` is the test's handle on it. What its
worker does stands in the journal of its name, what the library logs in the log of its name.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyrallel_consumer import WorkItem
from tests.kafka.deadline import PATIENCE_SECONDS, wait_until
from tests.kafka.journal import SUFFIX, Journal, journaling_worker, plain_journaling_worker
from tests.kafka.process_worker import async_process_worker, process_worker
from tests.kafka.told_worker import told_worker
from tests.kafka_jars import ROOT

LOG_TAIL_LINES = 40


class ConsumerProcess:
    """One member of a group, called ``name``; it runs from here on until it is stopped or killed.

    Args: folder: of journals and logs. kafka: arguments of KafkaConfig. execution: arguments of ExecutionConfig.
    work_ms: how long the worker waits on each message. never_finish: (partition, offset) on which it waits for ever; in
    the async mode. fails_every: it fails on offsets that are multiples of this number; 0 = on none; in the async mode.
    is_told: the worker follows the message's value; see ``told_worker``. is_async: the worker is ``async def`` in the
    process mode too. output: arguments of OutputConfig; then the worker of ``is_told`` returns a record for each
    message of a topic. results: that topic, and the topic of the records.

    In the process mode each worker process has a journal, ``name``, a hyphen and its process id.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        topic: str | Sequence[str],
        kafka: dict[str, Any],
        *,
        execution: dict[str, Any] | None = None,
        work_ms: float = 0.0,
        never_finish: Sequence[tuple[int, int]] = (),
        fails_every: int = 0,
        is_told: bool = False,
        is_async: bool = False,
        output: dict[str, Any] | None = None,
        results: tuple[str, str] | None = None,
    ) -> None:
        self.name = name
        self._journal = folder / f"{name}{SUFFIX}"
        self._log = folder / f"{name}.log"
        self._seen_bytes = 0
        self._finished = 0
        settings = {
            "folder": str(folder),
            "name": name,
            "topic": topic,
            "kafka": kafka,
            "execution": execution or {},
            "work_ms": work_ms,
            "never_finish": list(never_finish),
            "fails_every": fails_every,
            "is_told": is_told,
            "is_async": is_async,
            "output": output,
            "results": results,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kafka.consumer_process", json.dumps(settings)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is the test run's to handle
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def finished(self) -> int:
        """How many runs its worker has finished so far."""
        if self._journal.exists():
            with self._journal.open("rb") as journal:
                journal.seek(self._seen_bytes)
                whole, newline, _ = journal.read().rpartition(b"\n")
            self._seen_bytes += len(whole) + len(newline)
            self._finished += sum(line.startswith(b"f ") for line in whole.split(b"\n"))
        return self._finished

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_finished(self, runs: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when its worker has finished at least this many runs in all."""

        def is_there() -> bool:
            assert self.is_running or self.finished >= runs, f"{self.name} ended:\n{self._log_tail()}"
            return self.finished >= runs

        try:
            wait_until(is_there, f"{self.name} has finished {runs} runs", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it has {self.finished}, its log ends:\n{self._log_tail()}") from None

    def wait_logged(self, text: str) -> None:
        """Returns when the library has logged a line that holds ``text``."""
        wait_until(lambda: text in self.log, f"{self.name} has logged {text!r}")

    def terminate(self) -> None:
        """Asks it to stop (SIGTERM) and does not wait."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Returns its exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} runs on after {seconds:.0f} s:\n{self._log_tail()}") from None

    def stop(self, *, expected_code: int = 0) -> None:
        """Stops it as an operator would; it must end with the expected exit code, by default in order."""
        self.terminate()
        code = self.wait()
        assert code == expected_code, f"{self.name} ended with {code}:\n{self._log_tail()}"

    def kill(self) -> None:
        """Kills it (kill -9), if it still runs."""
        self._process.kill()
        self._process.wait()

    def freeze(self, *, with_children: bool = False) -> None:
        """Stops it in its tracks (SIGSTOP), as a suspended machine would; only ``thaw`` or ``kill`` ends that."""
        self._signal(signal.SIGSTOP, with_children=with_children)

    def thaw(self, *, with_children: bool = False) -> None:
        """Lets it go on where it was frozen."""
        self._signal(signal.SIGCONT, with_children=with_children)

    def _signal(self, number: signal.Signals, *, with_children: bool) -> None:
        if with_children:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    def _log_tail(self) -> str:
        return "\n".join(self.log.splitlines()[-LOG_TAIL_LINES:])


def main() -> None:
    """Consumes until SIGTERM. Its worker processes import this file, and must not pay for the whole library."""
    from pyrallel_consumer import (  # noqa: PLC0415
        ExecutionConfig,
        ExecutionMode,
        KafkaConfig,
        OutputConfig,
        PyrallelConsumer,
    )
    from tests.kafka.told_records import AsyncRecording, Recording  # noqa: PLC0415

    settings = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    folder, name, work_ms = Path(settings["folder"]), settings["name"], settings["work_ms"]
    execution = ExecutionConfig(**settings["execution"])
    worker: Callable[[WorkItem], Any]
    if settings["is_told"]:
        worker = told_worker(execution.mode, folder, name, work_ms, is_async=settings["is_async"])
        if settings["results"] is not None:
            is_async = settings["is_async"] or execution.mode is ExecutionMode.ASYNC
            worker = (AsyncRecording if is_async else Recording)(worker, *settings["results"])
    elif execution.mode is ExecutionMode.ASYNC:
        never_finish = [(partition, offset) for partition, offset in settings["never_finish"]]
        worker = journaling_worker(Journal(folder, name), work_ms, never_finish, settings["fails_every"])
    elif execution.mode is ExecutionMode.THREAD:
        worker = plain_journaling_worker(Journal(folder, name), work_ms)
    else:
        function = async_process_worker if settings["is_async"] else process_worker
        worker = partial(function, folder, work_ms, name=f"{name}-")
    consumer = PyrallelConsumer(
        KafkaConfig(**settings["kafka"]),
        worker,
        settings["topic"],
        execution_config=execution,
        output=None if settings["output"] is None else OutputConfig(**settings["output"]),
    )
    if "debug" in settings["kafka"].get("librdkafka", {}):
        logging.getLogger("pyrallel_consumer.client").setLevel(logging.DEBUG)
    logging.getLogger(__name__).info("process %d", os.getpid())
    consumer.run_forever()


if __name__ == "__main__":
    main()
