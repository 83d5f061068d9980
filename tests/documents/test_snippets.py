"""Every Python snippet of README and docs runs, and is as clean and as well typed as the library itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from tests.documents.snippets import ROOT, Snippet, blocks, documents, execute, run_program, written_to

SNIPPETS = [snippet for path in documents() for snippet in blocks(path, "python")]
PLAIN = [snippet for snippet in SNIPPETS if not snippet.is_program]
# README.ko.md is held to the snippets of README.md, word for word: they run once.
PROGRAMS = [snippet for snippet in SNIPPETS if snippet.is_program and snippet.path.name != "README.ko.md"]
# Snippets are short: no annotation for the future, no docstrings, prints, and names used once.
LEFT_OUT = "ANN,ARG,COM812,D,ERA,FBT,I002,INP,PLR2004,S101,S105,S106,S311,T20,TC"


def test_there_are_snippets_of_both_kinds() -> None:
    assert len(PROGRAMS) >= 4
    assert len(PLAIN) >= 5


@pytest.mark.parametrize("snippet", PLAIN, ids=lambda snippet: snippet.name)
def test_the_snippet_runs(snippet: Snippet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    execute(snippet)


@pytest.mark.parametrize("snippet", PROGRAMS, ids=lambda snippet: snippet.name)
def test_the_program_runs_and_consumes_until_it_is_told_to_stop(snippet: Snippet, tmp_path: Path) -> None:
    assert run_program(snippet, tmp_path) > 0


def test_the_korean_readme_has_the_same_code_as_the_english_one() -> None:
    for language in ("python", "properties"):
        english, korean = (blocks(ROOT / name, language) for name in ("README.md", "README.ko.md"))
        assert [without_comments(each) for each in english] == [without_comments(each) for each in korean]


def without_comments(snippet: Snippet) -> list[str]:
    return [re.sub(r"\s*#.*", "", line) for line in snippet.text.splitlines()]


def test_the_snippets_are_formatted_linted_and_typed(tmp_path: Path) -> None:
    names = [path.name for path in written_to(tmp_path, SNIPPETS)]
    settings = ["--config", str(ROOT / "pyproject.toml")]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (
        [*ruff, "check", *settings, "--quiet", "--no-cache", "--extend-ignore", LEFT_OUT, *names],
        [*ruff, "format", *settings, "--no-cache", "--diff", *names],
        [sys.executable, "-m", "mypy", "--config-file", settings[1], "--cache-dir", str(ROOT / ".mypy_cache"), *names],
    ):
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_variable_of_an_environment_file_is_a_setting(path: Path) -> None:
    known = {
        name
        for settings in (KafkaConfig, MetricsConfig, ExecutionConfig, ParallelConsumerConfig)
        for field in settings.model_fields
        for rank in settings.variables_of(field)
        for name in rank
    }
    for block in blocks(path, "properties"):
        names = re.findall(r"^#?\s*([A-Z_]+)=", block.text, re.MULTILINE)
        assert set(names) <= known, f"{path}, line {block.line}"
        assert names
