"""``make audit``: asks for known vulnerabilities of every version that the lock files pin, whatever their markers.

pip-audit asks PyPI, and OSV for what PyPI does not answer. A version that nobody answered for is not audited: pip-audit
calls that no vulnerability, this program does not. Ends with 0 (all audited, none found), 1 (vulnerabilities), or
3 (no answer for some versions). With ``--where-reachable`` it ends with 0 and says so where nobody answered: for
networks that have package registries only, or a service that is away for some of the questions.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = (
    "requirements.txt",
    "dev-requirements.txt",
    "ray-requirements.txt",
    "scripts/uv-requirements.txt",
    "scripts/proof-requirements.txt",
)
SERVICES = ("pypi", "osv")
PATIENCE_SECONDS = 120
VULNERABLE, NOT_AUDITED = 1, 3

Pin = tuple[str, str]


def main() -> int:
    pins = {pin for lock in LOCKS for pin in pins_in((ROOT / lock).read_text("utf-8"))}
    print(f"Asking for known vulnerabilities of {len(pins)} versions from {len(LOCKS)} lock files ...", flush=True)
    unanswered, reasons, found = pins, [], []
    for service in SERVICES:
        answers, reason = ask(service, unanswered)
        reasons += [f"{service}: {reason}"] if reason else []
        found += [(pin, issue) for pin, issues in sorted(answers.items()) for issue in issues]
        unanswered = unanswered - set(answers)
        if not unanswered:
            break
    for (name, version), issue in found:
        fixed = ", ".join(issue["fix_versions"]) or "no version"
        print(f"VULNERABLE: {name} {version}: {issue['id']}, fixed in {fixed}. {issue['description'][:200]}")
    if unanswered:
        names = ", ".join(f"{name} {version}" for name, version in sorted(unanswered)[:5])
        share = f"{len(unanswered)} of {len(pins)} versions"
        print(
            f"NOT AUDITED: no vulnerability service answered for {share} ({names}, ...).",
            *reasons,
            "Nothing is known about these versions. Run this where PyPI's JSON API or OSV can be reached.",
            sep="\n",
        )
    if found:
        return VULNERABLE
    if not unanswered:
        print(f"All {len(pins)} versions were audited: no known vulnerability.")
        return 0
    return 0 if "--where-reachable" in sys.argv[1:] else NOT_AUDITED


def pins_in(lock: str) -> Iterable[Pin]:
    """Name and version of each requirement of a lock file."""
    return re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE)


def ask(service: str, pins: set[Pin]) -> tuple[dict[Pin, list[dict[str, Any]]], str]:
    """The vulnerabilities of each version that ``service`` knows; and why it did not answer for others, or nothing."""
    answers: dict[Pin, list[dict[str, Any]]] = {}
    reason = ""
    for held in once_each(pins):
        dependencies, failure = _run(service, held)
        reason = (
            reason or failure or next((entry["skip_reason"] for entry in dependencies if "skip_reason" in entry), "")
        )
        told = {(entry["name"], entry["version"]): entry["vulns"] for entry in dependencies if "vulns" in entry}
        answers |= {pin: told[_canonical(pin)] for pin in held if _canonical(pin) in told}
        if not told:
            break
    return answers, reason


def once_each(pins: set[Pin]) -> Iterable[list[Pin]]:
    """Lists that hold each name once: pip-audit refuses a second version of it."""
    versions = defaultdict(list)
    for name, version in sorted(pins):
        versions[name].append(version)
    for turn in range(max(map(len, versions.values()), default=0)):
        yield [(name, held[turn]) for name, held in versions.items() if turn < len(held)]


def _run(service: str, pins: list[Pin]) -> tuple[list[dict[str, Any]], str]:
    """The findings of pip-audit for each version, or the reason why there are none."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pins.txt"
        path.write_text("".join(f"{name}=={version}\n" for name, version in pins))
        command = [sys.executable, "-m", "pip_audit", f"--requirement={path}", "--no-deps", "--disable-pip"]
        command += ["--format=json", "--desc=on", "--timeout=10", "--progress-spinner=off"]
        command += [f"--vulnerability-service={service}"]
        try:
            told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return [], f"no end after {PATIENCE_SECONDS} s"
    try:
        dependencies = json.loads(told.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], _last_line(told.stderr) or f"pip-audit ended with {told.returncode} and said nothing"
    return list(dependencies), ""


def _canonical(pin: Pin) -> Pin:
    return re.sub(r"[-_.]+", "-", pin[0]).lower(), pin[1]


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


if __name__ == "__main__":
    sys.exit(main())
