"""Programs that tests start, listen to, send signals to, and never leave behind."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.integration.consuming import PATIENCE_SECONDS

LINE_SECONDS = 90.0
"""Seconds for one line: a program that starts another one on a busy machine may be silent for long."""


class Program:
    """A running program, its standard output read line by line as it comes."""

    def __init__(self, command: tuple[str, ...], options: Mapping[str, Any]) -> None:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self._process: subprocess.Popen[str] = subprocess.Popen(command, text=True, **streams)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put("(the end)")

    def until_said(self, line: str) -> None:
        self.until(lambda said: said == line, line)

    def until(self, holds: Callable[[str], object], what: str) -> None:
        """Wait for a line that satisfies ``holds``; ``what`` describes it in the error."""
        while not self.said or not holds(self.said[-1]):
            self.said.append(self._lines.get(timeout=LINE_SECONDS))
            assert holds(self.said[-1]) or self.said[-1] != "(the end)", f"never said {what!r}, but: {self.said}"

    def until_logged(self, text: str) -> None:
        assert self._process.stderr is not None
        assert any(text in line for line in self._process.stderr), f"never logged {text!r}; it said: {self.said}"

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self) -> int:
        code = self._process.wait(PATIENCE_SECONDS)
        self.until_said("(the end)")
        return code

    def complaints(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def running_program(*command: str, **options: Any) -> Iterator[Program]:
    """Started for the block, killed at its end if it still runs; ``options`` are passed to Popen."""
    running = Program(command, options)
    try:
        yield running
    finally:
        running.end()
