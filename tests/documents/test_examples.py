"""Every example runs as it is, ends by itself, and its verdict holds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.snippets import ROOT, environment_without_settings

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
WITH_SERVERS = {"postgres_batches", "ray_digits"}
"""Examples that other tests run because they need a server: ``tests/postgres``, ``tests/ray``."""
MOST_SECONDS = 240  # a bound for hangs: each takes a few seconds on an idle machine


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if path.stem not in WITH_SERVERS], ids=lambda path: path.stem
)
def test_the_example_runs_as_it_is_and_its_verdict_holds(example: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", example],
        env=environment_without_settings(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )

    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert ran.stdout.splitlines()[-1].startswith("OK: "), ran.stdout
    assert "Traceback" not in ran.stderr or example.stem in {"dlq_replay", "typed_orders"}, ran.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_begins_with_the_command_that_runs_it_and_is_in_the_list(example: Path) -> None:
    words = ast.get_docstring(ast.parse(example.read_text("utf-8"))) or ""

    assert f"python examples/{example.name}" in words
    assert f"({example.name})" in (ROOT / "examples" / "README.md").read_text("utf-8")
