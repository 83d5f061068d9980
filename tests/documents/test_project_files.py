"""The files beside the code: targets that exist, YAML that parses, paths that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r"^([a-z0-9.-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "README.md", "README.ko.md", "prd_dev.md")]


def parsed(path: Path) -> dict[Any, Any]:
    found = YAML(typ="safe").load(path)
    assert isinstance(found, dict)
    return found


def targets_in(text: str) -> set[str]:
    """The targets that a document calls with make: in a line of code, between backticks, in a step."""
    return set(re.findall(r"(?:^\s*|`|run: |, |then )make ([a-z0-9.-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("path", [*PAGES, WORKFLOW, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_every_target_that_is_named_exists(path: Path) -> None:
    assert targets_in(path.read_text("utf-8")) <= TARGETS


def test_the_public_ci_runs_the_script_that_runs_everywhere() -> None:
    steps = [step for job in parsed(WORKFLOW)["jobs"].values() for step in job["steps"]]
    commands = " ".join(step["run"] for step in steps if "run" in step)

    assert ".ci/run" in commands
    assert "make wheel-test" in commands
    assert targets_in((ROOT / ".ci" / "run").read_text("utf-8")) == {"audit", "helm", "lint", "test", "test-ray"}
    assert all("uses" in step or "run" in step for step in steps)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_an_issue_form_asks_for_something(path: Path) -> None:
    form = parsed(path)
    if path.name == "config.yml":
        assert form["blank_issues_enabled"] is True
        return
    assert form["name"]
    assert form["description"]
    questions = [part for part in form["body"] if part["type"] != "markdown"]
    assert any(part.get("validations", {}).get("required") for part in questions)
    assert len({part["id"] for part in questions}) == len(questions)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "prd_dev.md"])
def test_every_file_that_contributors_are_sent_to_is_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    named = set(re.findall(r"`((?:pyrallel_consumer|tests|cli|docs|benchmarks)/[\w./*-]+)`", text))
    linked = set(re.findall(r"\]\((?!http)([^)#]+)\)", text))

    missing = [
        path for path in named | linked if not any(list(base.glob(path)) for base in (ROOT, ROOT / "pyrallel_consumer"))
    ]
    assert missing == []
