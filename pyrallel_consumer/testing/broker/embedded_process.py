"""The owner's handle on the child process of ``EmbeddedBroker``: starts it, sends commands, ends it.

It knows nothing about Kafka. The caller sends one command at a time. An error ends the child and is a ``BrokerError``
with the child's last lines; after ``close`` no process and no file descriptor is left.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NoReturn

from pyrallel_consumer.errors import BrokerError

SERVER_FILE: Final = Path(__file__).with_name("embedded_server.py")
# A tenth of a second is usual; the bound is for machines that are busy with something else.
ANSWER_TIMEOUT_SECONDS: Final = 30.0
END_TIMEOUT_SECONDS: Final = 2.0
STDERR_TAIL_BYTES: Final = 2000
READ_BYTES: Final = 65536


class ServerProcess:
    """A running ``embedded_server.py``; constructing it starts it and waits until its broker can be reached."""

    def __init__(self, *, plain: bool, port: int = 0) -> None:
        self._unread = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the child, close() closes it
        command = [sys.executable, "-P", str(SERVER_FILE), str(os.getpid()), "plain" if plain else "full", str(port)]
        try:
            # A session of its own: Ctrl-C in the terminal is for the owner, who still has to drain and commit.
            self._child = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            raise BrokerError(f"the embedded broker's process could not be started: {error}", code="_FAIL") from error
        hello = self._answer("start")
        if "error" in hello:
            self.close()
            raise BrokerError(f"the embedded broker did not start: {hello['error']}", code=hello["code"])
        self.bootstrap_servers: str = hello["bootstrap_servers"]
        self.plain_because: str = hello["plain_because"]

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def ask(self, command: str, arguments: dict[str, object]) -> None:
        """Have one command of the server's cluster obeyed.

        Raises:
            BrokerError: the cluster refused it, or the child died or did not answer; then it is ended.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        except (BrokenPipeError, ValueError):  # died, or was closed here after an earlier failure
            self._fail(f"died before {command}", "_TRANSPORT")
        answer = self._answer(command)
        if "error" in answer:
            raise BrokerError(answer["error"], code=answer["code"])

    def close(self) -> None:
        """End the child, which takes the end of its input for the order to go. May be called again."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        self._stderr.close()

    def _answer(self, command: str) -> dict[str, Any]:
        assert self._child.stdout is not None
        deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
        while b"\n" not in self._unread:
            if not _is_readable(self._child.stdout.fileno(), deadline - time.monotonic()):
                self._fail(f"did not answer {command} within {ANSWER_TIMEOUT_SECONDS:g} s and was ended", "_TIMED_OUT")
            chunk = os.read(self._child.stdout.fileno(), READ_BYTES)
            if not chunk:
                self._fail(f"died during {command}", "_TRANSPORT")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _fail(self, what: str, code: str) -> NoReturn:
        if self._stderr.closed:
            raise BrokerError(f"the embedded broker {what}", code=code)
        self._child.kill()
        self._child.wait()
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - STDERR_TAIL_BYTES))
        last_words = self._stderr.read().decode(errors="replace").strip()
        self.close()
        raise BrokerError(
            f"the embedded broker {what} (exit status {self._child.returncode}); it wrote: {last_words or 'nothing'}",
            code=code,
        )


def _is_readable(descriptor: int, timeout_seconds: float) -> bool:
    if sys.platform == "win32":  # pipes cannot be waited for there: the read itself has to wait
        return True
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(max(0.0, timeout_seconds) * 1000))
