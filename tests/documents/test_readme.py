"""The READMEs: figures that a report holds, links that work wherever the text is shown, pictures that are small."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.documents.snippets import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
MOST_BYTES = 300_000


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return import_module("readme_figures")


@pytest.mark.parametrize(("name", "language"), [("README.md", 0), ("README.ko.md", 1)])
def test_the_comparison_has_the_figures_of_the_report_that_it_names(
    figures: ModuleType, name: str, language: int
) -> None:
    text = (ROOT / name).read_text("utf-8")
    shown = text.partition(figures.BEGIN)[2].partition(figures.END)[0]
    [report] = re.findall(r"docs/benchmarks/(20[\d-]+\.md)", shown)

    assert shown.strip() == figures.figures(figures.REPORTS / report, language)
    assert figures.written(text, shown.strip()) == text


def test_a_contender_that_the_report_lacks_counts_as_not_measured(figures: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "2026-01-01.md"
    report.write_text("".join(f"### {case}: work\n\n| ours | 1,234 (1 - 2) | |\n\n" for case in figures.CASES), "utf-8")

    assert "| no work, 100 keys | 1,234 | not measured |" in figures.figures(report, 0)


def test_every_link_of_the_readme_is_absolute_and_leads_to_a_file_that_is_there() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", README)
    assert len(targets) > 20
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
    for target in targets:
        assert target.startswith("https://"), f"{target} does not work on the index"
        for root in (f"{REPOSITORY}/blob/main/", f"{raw}/main/"):
            if target.startswith(root):
                assert (ROOT / target.removeprefix(root)).is_file(), target


def test_the_project_names_where_it_is_documented_changed_and_discussed() -> None:
    assert set(PROJECT["urls"]) >= {"Repository", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(REPOSITORY) for url in PROJECT["urls"].values())


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "pictures").iterdir())
    assert {path.name for path in pictures} >= {"demo.svg", "status-page.png", "way-of-a-message.svg"}
    assert [path.name for path in pictures if path.stat().st_size > MOST_BYTES] == []
