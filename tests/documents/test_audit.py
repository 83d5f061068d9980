"""``make audit`` calls a version audited only when a vulnerability service answered for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "audit_lock.py"
LOCK = "pydantic==2.14.3 \\\n    --hash=sha256:00\nnumpy==2.3.0 ; python_version < '3.12' \\\nnumpy==2.4.0 \\\n"
HOLE = {"id": "PYSEC-1", "fix_versions": ["2.4.1"], "description": "A hole."}
Answer = Callable[[str, str], dict[str, Any]]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("audit_lock", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "lock.txt").write_text(LOCK)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "LOCKS", ("lock.txt",))
    monkeypatch.setattr(sys, "argv", ["audit_lock.py"])
    return module


def answer_with(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip-audit, as far as it is asked here: ``answer`` is given service and requirement, and says what is known."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        arguments = dict(part[2:].split("=", 1) for part in command if part.startswith("--") and "=" in part)
        pins = [line.split("==") for line in Path(arguments["requirement"]).read_text().splitlines()]
        entries = [
            {"name": name, "version": version, **answer(arguments["vulnerability-service"], f"{name}=={version}")}
            for name, version in pins
        ]
        return subprocess.CompletedProcess(command, 0, json.dumps({"dependencies": entries}), "")

    monkeypatch.setattr(subprocess, "run", run)


def test_every_version_is_asked_for_whatever_its_marker(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def answer(_: str, pin: str) -> dict[str, Any]:
        asked.append(pin)
        return {"vulns": []}

    answer_with(answer, monkeypatch)

    assert audit.main() == 0
    assert sorted(asked) == ["numpy==2.3.0", "numpy==2.4.0", "pydantic==2.14.3"]
    assert "All 3 versions were audited" in capsys.readouterr().out


def test_a_vulnerability_fails_with_its_name_and_the_version_that_fixes_it(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(lambda _, pin: {"vulns": [HOLE] if pin == "numpy==2.4.0" else []}, monkeypatch)

    assert audit.main() == audit.VULNERABLE
    assert "numpy 2.4.0: PYSEC-1, fixed in 2.4.1" in capsys.readouterr().out


def test_versions_for_which_nobody_answers_are_not_called_audited(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(lambda service, _: {"skip_reason": f"{service} is not here"}, monkeypatch)

    assert audit.main() == audit.NOT_AUDITED
    out = capsys.readouterr().out
    assert "NOT AUDITED: no vulnerability service answered for 3 of 3 versions" in out
    assert "osv: osv is not here" in out


@pytest.mark.parametrize(("answered", "share"), [("nothing", "3 of 3"), ("numpy", "1 of 3")])
def test_where_services_need_not_be_reachable_a_missing_answer_is_said_and_a_vulnerability_still_fails(
    answered: str, share: str, audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit_lock.py", "--where-reachable"])
    answer_with(lambda _, pin: {"vulns": []} if answered in pin else {"skip_reason": "not known"}, monkeypatch)
    assert audit.main() == 0
    assert f"NOT AUDITED: no vulnerability service answered for {share} versions" in capsys.readouterr().out

    answer_with(lambda _, pin: {"vulns": [HOLE]} if "numpy" in pin else {"skip_reason": "not known"}, monkeypatch)
    assert audit.main() == audit.VULNERABLE


def test_the_second_service_is_asked_for_what_the_first_does_not_know(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(
        lambda service, pin: {"vulns": []} if service == "osv" or "numpy" in pin else {"skip_reason": "not known"},
        monkeypatch,
    )

    assert audit.main() == 0
