"""The site builds without a warning, loads nothing from elsewhere, and leaves out no setting, metric or name."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import pyrallel_consumer
from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from pyrallel_consumer.observability.metrics.families import FAMILIES
from tests.documents.snippets import ROOT
from tests.documents.test_readme import REPOSITORY
from tests.integration.browser import Browser, browser

__all__ = ["browser"]

LOADED_FROM_ELSEWHERE = re.compile(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["'](?:https?:)?//""")
MOST_SECONDS = 240


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", "--builder", "html"]
    ran = subprocess.run(
        [*command, ROOT / "docs", folder], capture_output=True, text=True, timeout=MOST_SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


def test_pages_include_only_files_that_the_source_distribution_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for page in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r"^```\{include\} (\S+)", page.read_text("utf-8"), re.MULTILINE):
            included = "/" + (page.parent / name).resolve().relative_to(ROOT).as_posix()
            assert any(included == each or included.startswith(f"{each}/") for each in shipped), (page, name)


def shown(site: Path, page: str) -> str:
    """The text of a page, without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", (site / "reference" / f"{page}.html").read_text("utf-8")))


def test_the_site_loads_nothing_from_elsewhere_and_the_reference_is_complete(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 10
    for page in pages:
        assert not LOADED_FROM_ELSEWHERE.search(page.read_text("utf-8")), page
        assert "@import url(http" not in page.read_text("utf-8"), page

    settings = shown(site, "settings")
    for each in (KafkaConfig, ParallelConsumerConfig, ExecutionConfig, MetricsConfig):
        for field in each.model_fields:
            if field not in {"metrics", "parallel_consumer"}:
                assert f"{each.environment_prefixes[0]}{field}".upper() in settings
    metrics = shown(site, "metrics")
    for family in FAMILIES:
        assert family.name in metrics
        assert family.help in metrics
    names = shown(site, "api")
    for name in set(pyrallel_consumer.__all__) - {each.__name__ for each in (KafkaConfig, ParallelConsumerConfig)}:
        assert name in names or name.endswith("Config"), name
    assert "pyrallel-consumer dlq replay" in shown(site, "commands")
    assert "__new__" not in names
    landing = (site / "index.html").read_text("utf-8")
    for wanted in (
        "demo.svg",
        "status-page.png",
        "way-of-a-message.svg",
        "install.html",
        "examples.html",
        "changelog.html",
    ):
        assert wanted in landing
    promises = (site / "reference" / "guarantees.html").read_text("utf-8")
    assert f'href="{REPOSITORY}/blob/main/tests/kafka/guarantees.py"' in promises


@pytest.mark.parametrize("width", [1400, 375])
def test_nothing_on_the_site_is_cut(site: Path, browser: Browser, width: int) -> None:
    browser.look_like(width=width, scheme="light")
    script = """
        const clips = (each) => getComputedStyle(each).overflowX !== "visible";
        return [document.documentElement, ...document.querySelectorAll("article, article *")]
            .filter((each) => each.checkVisibility() && each.clientWidth > 1 && clips(each))
            .filter((each) => each.scrollWidth > each.clientWidth)
            .map((each) => `${each.tagName} ${each.className} ${each.scrollWidth} > ${each.clientWidth}`)
    """
    wide = {}
    for page in sorted(site.rglob("*.html")):
        browser.open(page.as_uri())
        edge = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if found := [*browser.run(script), *(["the page"] if edge > 0 else [])]:
            wide[page.relative_to(site).as_posix()] = found[:3]
    assert wide == {}


def test_every_setting_says_what_it_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    page: str = import_module("reference_pages").settings_page()

    for section in page.split("\n### ")[1:]:
        name, _, said = section.partition("\n")
        words = [line for line in said.splitlines() if line and not line.startswith(("- ", "#"))]
        assert words, f"{name} has no docstring in config.py"
