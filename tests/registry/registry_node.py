"""A schema registry of the tests' own: Apicurio's program, copied once by Maven, in a JVM that dies with its owner."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kafka_jars import MAVEN_TIMEOUT_SECONDS, ROOT, KafkaUnavailableError, java_executable
from tests.kafka_node import free_port

VERSION = "2.6.13.Final"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
CACHE = ROOT / ".cache" / "registry"
START_TIMEOUT_SECONDS = 180
LOOK_SECONDS = 0.2


class RegistryNode:
    """Starts in half a minute; use it as a context manager. KafkaUnavailableError where Java or Maven is missing."""

    def __init__(self) -> None:
        self._port = free_port()
        self._log = CACHE / f"{os.getpid()}.log"

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The settings for clients of this registry."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def __enter__(self) -> Self:
        program = _program()
        options = [f"-Dquarkus.http.port={self._port}", "-Dquarkus.http.host=127.0.0.1"]
        with self._log.open("wb") as log:
            self._jvm = subprocess.Popen(
                [java_executable(), "-Xmx512m", "-XX:TieredStopAtLevel=1", *options, "-jar", str(program)],
                cwd=program.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guardian = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -9 "$0"', str(self._jvm.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            self._wait_ready()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._kill()
        self._log.unlink(missing_ok=True)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if self._jvm.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace").splitlines()[-15:]
                raise RuntimeError("\n".join(["the registry does not answer; the end of its log:", *tail]))
            time.sleep(LOOK_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5):  # noqa: S310 -- our own address
                return True
        except OSError:
            return False

    def _kill(self) -> None:
        self._jvm.kill()
        self._jvm.wait()
        self._guardian.kill()
        self._guardian.communicate()


def _program() -> Path:
    """The registry's jar, with its libraries beside it; copied and unpacked first if need be."""
    folder = CACHE / VERSION
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _fetch(folder)
    return folder / f"apicurio-registry-app-{VERSION}-runner.jar"


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError("A real schema registry needs Maven to copy it, and no mvn was found.")
    incomplete = folder.with_name(f"{folder.name}.incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    command = [maven, "-q", "-B", "dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={incomplete}"]
    copied = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=MAVEN_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL
    )
    if copied.returncode != 0:
        lines = [line for line in (copied.stdout + copied.stderr).splitlines() if line.strip()]
        raise KafkaUnavailableError(f"Maven could not copy the registry: {lines[0] if lines else copied.returncode}")
    [archive] = incomplete.glob("*.tar.gz")
    shutil.unpack_archive(archive, incomplete, filter="data")
    archive.unlink()
    incomplete.rename(folder)
