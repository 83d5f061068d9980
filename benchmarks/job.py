"""One measurement in a process of its own: the request, how it is run, and the answer.

Both ends are here: ``run`` starts a process of the chosen interpreter and waits for its figures, ``answer`` is what
that process prints. A job is plain data, so that any interpreter that has the library's requirements can do it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

Figures = dict[str, float]

HERE: Final = Path(__file__).resolve().parent
MEASURED: Final = HERE / "measured.py"
MARK: Final = "figures:"
TAIL_LINES: Final = 8


class MeasurementFailedError(Exception):
    """The measured process ended without figures; the message holds the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one process measures; ``subject`` names the function of ``measured.py``, the rest is for that function.

    ``is_metered`` turns metrics on, and has them scraped once a second. ``environment`` is added to the process's own.
    """

    subject: str
    bootstrap_servers: str = ""
    topic: str = ""
    group: str = ""
    messages: int = 0
    laps: int = 1
    keys: int = 0
    worker_ms: float = 0.0
    busy_us: float = 0.0
    consumers: int = 1
    seconds: float = 0.0
    max_in_flight: int = 1000
    batch_size: int = 1
    queue_max_messages: int = 5000
    queue_max_bytes: int = 64 * 1024 * 1024
    is_uvloop: bool = False
    is_metered: bool = False
    client_settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def run(job: Job, python: str, timeout_seconds: float) -> Figures:
    """Do ``job`` in a new process of the interpreter ``python``; raises MeasurementFailedError."""
    try:
        done = ended(job, python, timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise MeasurementFailedError(f"{job.subject} gave no figures within {timeout_seconds:.0f} s") from error
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            return {name: float(value) for name, value in json.loads(line.removeprefix(MARK)).items()}
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-TAIL_LINES:])
    raise MeasurementFailedError(f"{job.subject} ended with code {done.returncode}:\n{tail}")


def ended(job: Job, python: str, timeout_seconds: float, below: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the measured process to its end, as the child of the command ``below`` if there is one."""
    # PYTHONPATH: an interpreter other than ours has the requirements, and not necessarily the library itself.
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), **job.environment}
    command = [*below, python, str(MEASURED), json.dumps(asdict(job))]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=timeout_seconds, check=False
    )


def answer(figures: Figures) -> str:
    """The line that carries ``figures`` back."""
    return MARK + json.dumps(figures)
