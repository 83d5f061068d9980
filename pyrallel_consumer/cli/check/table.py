"""The findings of ``run --check``, one per checked item: as a table, as JSON, as an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from rich.console import Console
from rich.table import Table

from pyrallel_consumer.cli.command import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from pyrallel_consumer.cli.terminal import drawn, say


class Verdict(Enum):
    """The result of one check. ``WRONG``: to be fixed in settings or code; ``FAILED``: a problem of the broker."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    FAILED = "failed"
    SKIPPED = "skipped"


_MARKS = {
    Verdict.OK: ("ok", "green"),
    Verdict.WARNING: ("warning", "yellow"),
    Verdict.WRONG: ("error", "bold red"),
    Verdict.FAILED: ("error", "bold red"),
    Verdict.SKIPPED: ("-", "dim"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked item. ``shown`` is further text for below the table: a traceback."""

    subject: str
    verdict: Verdict
    text: str
    shown: str = ""


def exit_code_of(findings: list[Finding]) -> int:
    """2 if a setting or the worker is wrong, else 1 if the broker failed, else 0; warnings do not count."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.WRONG in verdicts:
        return EXIT_USAGE
    return EXIT_FAILED if Verdict.FAILED in verdicts else EXIT_OK


def json_of(findings: list[Finding]) -> dict[str, Any]:
    """The findings as JSON values; ``ok`` is whether a run would start."""
    found = [
        {"subject": each.subject, "verdict": each.verdict.value, "text": each.text}
        | ({"traceback": each.shown} if each.shown else {})
        for each in findings
    ]
    return {"ok": exit_code_of(findings) == EXIT_OK, "findings": found}


def print_findings(console: Console, findings: list[Finding]) -> None:
    """Print the table, then longer texts; in a pipe the same texts, one line per finding."""
    if console.is_terminal:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for finding in findings:
            mark, style = _MARKS[finding.verdict]
            table.add_row(drawn(mark, style), drawn(finding.subject, "bold"), drawn(finding.text))
        console.print(table)
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            say(f"{_MARKS[finding.verdict][0]:<7}  {finding.subject:<{width}}  {finding.text}".rstrip())
    for finding in findings:
        if finding.shown:
            say(f"\n{finding.shown}")
