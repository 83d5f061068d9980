"""Excerpts of the members' logs, because CI keeps no files: the times of some kinds of lines, and all lines around
findings.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.chaos.judge import SECOND

FINDING: Final = re.compile(r": (m\d+\.\d+)\S* ran .* at (\d+\.\d+) s")
"""A member and a moment of the monotonic clock."""
STAMP: Final = "%Y-%m-%d %H:%M:%S,%f"
STAMP_LENGTH: Final = 23
AROUND_SECONDS: Final = 1.0
MOST_FINDINGS: Final = 3
MOST_LINES: Final = 60
LONGEST_LINE: Final = 300


def wall_clock_of_monotonic() -> float:
    """The POSIX time at which the monotonic clock of this machine was 0."""
    return time.time() - time.monotonic()


def log_time(line: str) -> float | None:
    """The POSIX time at the beginning of a log's line; None for a line that continues the previous one."""
    try:
        return dt.datetime.strptime(line[:STAMP_LENGTH], STAMP).astimezone().timestamp()
    except ValueError:
        return None


def excerpts(folder: Path, findings: Sequence[str]) -> Iterator[str]:
    """The lines of members' logs around the first findings that name a member and a moment."""
    zero = wall_clock_of_monotonic()
    named = [match for match in map(FINDING.search, findings) if match is not None][:MOST_FINDINGS]
    for member in sorted({match[1] for match in named}):
        moments = [zero + float(match[2]) for match in named if match[1] == member]
        yield f"  log of {member}:"
        yield from _around(folder / f"{member}.log", moments)


def told_at(folder: Path, line_of: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """The members whose logs have this line, with the nanoseconds of the monotonic clock at which it was written."""
    zero = wall_clock_of_monotonic()
    for log in sorted(folder.glob("m*.log")):
        for line in log.read_text(errors="replace").splitlines():
            at = log_time(line) if line_of.match(line) else None
            if at is not None:
                yield log.stem, int((at - zero) * SECOND)


def _around(log: Path, moments: Sequence[float]) -> Iterator[str]:
    shown = 0
    for line in log.read_text(errors="replace").splitlines():
        at = log_time(line)
        if at is None or not any(abs(at - moment) <= AROUND_SECONDS for moment in moments):
            continue
        yield f"    {line[:LONGEST_LINE]}"
        shown += 1
        if shown == MOST_LINES:
            return
