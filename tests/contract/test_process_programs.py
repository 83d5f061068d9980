"""Programs that run worker processes: where the worker may be defined, refusals of other places, and orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).with_name("process_program.py")
ROOT = PROGRAM.parents[2]
ORPHAN_SECONDS = 5.0
"""Orphans end within a second on a machine that has time for them."""


def run(arguments: list[str], log: Path, stdin: str | None = None, mark: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments, "ok,fail,ok", str(log), mark],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 2,
        check=False,
    )


def test_a_worker_of_the_program_s_own_file_works_and_so_do_its_exceptions(tmp_path: Path) -> None:
    ran = run([str(PROGRAM)], tmp_path / "log")
    assert (ran.returncode, ran.stdout.split()) == (0, ["2", "OwnError"]), ran.stderr
    assert ran.stderr == ""


def test_a_program_started_as_a_module_works_too(tmp_path: Path) -> None:
    ran = run(["-m", "tests.contract.process_program"], tmp_path / "log")
    assert (ran.returncode, ran.stdout.split()) == (0, ["2", "OwnError"]), ran.stderr


def test_a_program_without_a_guard_is_told_to_have_one(tmp_path: Path) -> None:
    ran = run([str(PROGRAM)], tmp_path / "log", mark="unguarded")
    assert ran.returncode == 1
    assert 'if __name__ == "__main__"' in ran.stderr
    assert "ConfigurationError" in ran.stderr


def test_a_worker_from_stdin_is_refused_with_the_reason(tmp_path: Path) -> None:
    ran = run(["-"], tmp_path / "log", stdin=PROGRAM.read_text())
    assert ran.returncode == 1
    assert "ConfigurationError" in ran.stderr
    assert "not stdin" in ran.stderr


def test_processes_whose_program_is_killed_end_by_themselves(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # Whichever process is there first: what ends stands before what does not, so that none waits behind it for ever.
    program = subprocess.Popen([sys.executable, str(PROGRAM), "ok,for ever,for ever", str(log)], cwd=ROOT)
    try:
        until(lambda: log.exists() and len(log.read_text().split()) == 3)
    finally:
        program.kill()
        program.wait()
    workers = {int(pid) for pid in log.read_text().split()}
    assert len(workers) == 2
    try:
        until(lambda: not any(map(is_alive, workers)), ORPHAN_SECONDS)
    finally:
        for pid in filter(is_alive, workers):
            os.kill(pid, signal.SIGKILL)


def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie, which waits for its exit code to be read, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
