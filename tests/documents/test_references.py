"""References in documents: files, commands with their options, and targets of the Makefile exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pyrallel_consumer import cli
from tests.documents.snippets import ROOT

PAGES = sorted(
    page
    for folder in (".", "docs", "examples", "benchmarks", "monitoring")
    for page in (ROOT.glob("*.md") if folder == "." else (ROOT / folder).rglob("*.md"))
    if "_generated" not in page.parts
)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)\s#]+)[^)]*\)")
CODE = re.compile(r"`([^`\n]+)`|^(?: {4}|\$ )(.+)$", re.MULTILINE)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_of(page: Path) -> list[str]:
    """The code of a document without comments: text between backticks, indented lines, and text after a prompt."""
    found = [inline or line for inline, line in CODE.findall(page.read_text("utf-8"))]
    return [re.sub(r"\s+#.*", "", code).strip() for code in found]


def test_there_are_pages_to_look_at() -> None:
    assert len(PAGES) > 10
    commands = [code for page in PAGES for code in code_of(page) if code.startswith("pyrallel-consumer ")]
    assert len(commands) > 10


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{named(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_a_page_shows_can_be_given_so(page: Path) -> None:
    for code in code_of(page):
        if code.startswith("pyrallel-consumer "):
            assert not misused(shlex.split(code)[1:]), f"{named(page)}: {code}"
        for target in re.findall(r"^make ([a-z][\w.-]*)", code):
            assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), code


@pytest.mark.parametrize("name", ["prd_dev.md", "prd.md", "CONTRIBUTING.md", "docs/reference/guarantees.md"])
def test_every_source_file_that_is_named_is_there(name: str) -> None:
    folders = ("pyrallel_consumer", "tests", "benchmarks", "docs", "examples")
    sources = [path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*.py")]
    for code in code_of(ROOT / name):
        if re.fullmatch(r"[\w/]+\.py", code):
            assert any(f"/{source}".endswith(f"/{code}") for source in sources), f"{name} names {code}"


def misused(words: list[str]) -> list[str]:
    """Words that are neither a command nor an option of the command before them."""
    command: Any = get_command(cli.main)
    wrong: list[str] = []
    is_value = False
    for word in words:
        if word == "|":
            break
        subcommands = getattr(command, "commands", {})
        if is_value:
            is_value = False
        elif word in subcommands:
            command = subcommands[word]
        elif word.startswith("--"):
            options = {option: each for each in command.params for option in (*each.opts, *each.secondary_opts)}
            wrong += [] if word in {*options, "--help"} else [word]
            is_value = word in options and not options[word].is_flag
        elif subcommands:
            wrong.append(word)
    return wrong


def test_a_wrong_word_is_found() -> None:
    assert misused(["dlq", "replay", "--topic", "orders", "--filtre", "x"]) == ["--filtre"]
    assert misused(["replay"]) == ["replay"]
