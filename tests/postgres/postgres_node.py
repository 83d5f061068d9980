"""A PostgreSQL of the tests' own, from Debian's packages: a data folder that is made and removed, on 127.0.0.1."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kafka_node import free_port

INSTALLED = Path("/usr/lib/postgresql")
USER = "postgres"
"""The server's user if the tests run as root: PostgreSQL refuses to run as root."""
HERE_ONLY = "listen_addresses=127.0.0.1"
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", HERE_ONLY)
DURABLE = (HERE_ONLY,)
"""PostgreSQL's own settings: what is committed is on the disk."""
START_TIMEOUT_SECONDS = 60


class PostgresUnavailableError(Exception):
    """No PostgreSQL can be started here; the message says what to install."""


class PostgresNode:
    """Starts in a second or two; use it as a context manager."""

    def __init__(self, options: Sequence[str] = QUICK) -> None:
        self._options = options
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._folder / "data"

    @property
    def url(self) -> str:
        """The address of its database, as drivers take it."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        self._programs = _programs()
        if _user() is not None:
            shutil.chown(self._folder, USER)
        self._run("initdb", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-sync", "-D", self._data)
        options = " ".join(
            ["-p", str(self._port), "-k", str(self._folder), *(f"-c {option}" for option in self._options)]
        )
        log = self._folder / "log"
        self._run("pg_ctl", "start", "-w", "-t", START_TIMEOUT_SECONDS, "-D", self._data, "-l", log, "-o", options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._data)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        ran = subprocess.run(
            command,
            user=_user(),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # not a pipe: the server would inherit it
            stderr=subprocess.DEVNULL,
            timeout=2 * START_TIMEOUT_SECONDS,
            check=False,
        )
        if ran.returncode != 0:
            raise PostgresUnavailableError(f"{' '.join(command)} ended with {ran.returncode}")


def _programs() -> Path:
    """The folder of the newest installed PostgreSQL's programs."""
    found = sorted(INSTALLED.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise PostgresUnavailableError("no PostgreSQL is installed: Debian's package is `postgresql`")
    return found[-1].parent


def _user() -> str | None:
    """The user of the server, None for the user of the tests."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(USER)
    except KeyError:
        raise PostgresUnavailableError(f"PostgreSQL does not run as root, and there is no user {USER}") from None
    return USER
