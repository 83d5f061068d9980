"""The release: its workflow is valid, asks for no more rights than it needs, and the version is valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import pyrallel_consumer
from tests.deploy.chart import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def check_release(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, ROOT / "scripts" / "check-release", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_fits_the_schema_of_workflows(path: Path) -> None:
    schema = ["--builtin-schema", "vendor.github-workflows"]
    command: list[str | Path] = [sys.executable, "-m", "check_jsonschema", *schema, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_version_is_the_same_everywhere_and_the_changelog_knows_it() -> None:
    done = check_release()
    assert (done.returncode, done.stderr) == (0, "")
    assert pyrallel_consumer.__version__ in done.stdout
    assert check_release("--notes", pyrallel_consumer.__version__).stdout.strip()


def test_another_tag_is_refused() -> None:
    done = check_release("99.0")
    assert done.returncode == 1
    assert "the tag says 99.0" in done.stderr


def test_only_the_job_that_publishes_may_say_who_it_is(jobs: dict[str, Any]) -> None:
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert jobs["publish"]["environment"] == "release"
    assert jobs["publish"]["needs"] == "build"
    assert "github.ref_type == 'tag'" in jobs["publish"]["if"]


def test_what_is_published_is_what_was_tested(jobs: dict[str, Any]) -> None:
    runs = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert "make wheel-test" in runs
    assert not any("run" in step for step in jobs["publish"]["steps"]), "nothing is built where rights are"
