"""The environments of the peers, each made once in the project's cache: two of Python, and Java's classes and jars."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = ROOT / "benchmarks" / "peers"
CACHE: Final = ROOT / ".cache" / "peers"
SECONDS: Final = 900
PYPI_PREFERS: Final = ("3.12", "3.13")
"""The Pythons that its package names."""


class PeerUnavailableError(Exception):
    """A peer cannot run on this machine; the message is one sentence that says why."""


def python_of(peer: str, report: Callable[[str], None]) -> str:
    """The interpreter of a Python peer, its environment made if need be."""
    wanted = PYPI_PREFERS if peer == "pypi" else ("",)
    requirements = PEERS / f"{peer}-requirements.txt"
    folder = CACHE / f"{peer}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if (folder / ".complete").exists():
        return str(python)
    found = next((path for version in wanted if (path := _found_python(version))), None)
    if found is None:
        raise PeerUnavailableError(f"{peer} needs Python {' or '.join(wanted)}, and there is none on this machine.")
    report(f"making the environment of {peer} (once) ...")
    shutil.rmtree(folder, ignore_errors=True)
    uv = _uv()
    _done([uv, "venv", "--quiet", "--python", found, str(folder)], peer)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(requirements)]
    _done(install, peer)
    (folder / ".complete").touch()
    return str(python)


def java_command(report: Callable[[str], None]) -> list[str]:
    """The command line of Java's peer, compiled by Maven if need be."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None or shutil.which("javac") is None:
        raise PeerUnavailableError("java needs a JDK (17 or newer) and Maven, and this machine lacks one of them.")
    sources = sorted([PEERS / "java" / "pom.xml", *(PEERS / "java" / "src").rglob("*.java")])
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    folder = CACHE / f"java-{digest}"
    if not (folder / ".complete").exists():
        report("compiling Java's peer with Maven (once) ...")
        shutil.rmtree(folder, ignore_errors=True)
        command = [maven, "-q", "-B", "-f", str(PEERS / "java" / "pom.xml"), f"-Doutput={folder}"]
        command += ["compile", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'libs'}"]
        _done(command, "java")
        (folder / ".complete").touch()
    flags = ["-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    return [java, *flags, "-cp", f"{folder / 'classes'}:{folder / 'libs'}/*", "peer.Peer"]


def java_version() -> str:
    """The version line of the machine's Java."""
    shown = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    return shown.splitlines()[0] if shown else "unknown"


def python_of_ours(version: str) -> str:
    """An interpreter of that version that has this library's requirements."""
    python = ROOT / f".venv-{version}" / "bin" / "python"
    if not python.exists():
        raise PeerUnavailableError(
            f"Python {version} is left out: `make .venv-{version}/.synced` makes its environment."
        )
    return str(python)


def _found_python(version: str) -> str | None:
    command = [str(ROOT / "scripts" / "find-python"), *([version] if version else [])]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def _uv() -> str:
    ours = ROOT / ".tools" / "uv" / "bin" / "uv"
    uv = str(ours) if ours.exists() else shutil.which("uv")
    if uv is None:
        raise PeerUnavailableError("Environments of peers are made by uv, which is fetched by `make .venv/.synced`.")
    return uv


def _done(command: list[str], peer: str) -> None:
    environment = os.environ | {"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailableError(
            f"{peer} was not made ready within {SECONDS} s by {Path(command[0]).name}."
        ) from error
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise PeerUnavailableError(f"{peer} cannot be made ready: {lines[0] if lines else done.returncode}")
