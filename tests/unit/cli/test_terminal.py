"""What commands print: no text steers a terminal, and no encoding ends a command."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path

import pytest

import pyrallel_consumer.cli
from pyrallel_consumer.cli.table import plain_table
from pyrallel_consumer.cli.terminal import (
    accept_any_text,
    complain,
    drawn,
    escaped,
    printable,
    printable_lines,
    say,
    say_json,
)

STEERING = "a\x1b[2J\x9b2J\u202e\u2028\x07\ud800b"
HARMLESS = "größer 漢\u3000字 \u00a0😀"


def test_what_could_steer_a_terminal_is_replaced_and_everything_else_is_kept() -> None:
    assert printable(STEERING) == "a�[2J�2J����b"
    assert printable(HARMLESS) == HARMLESS
    assert printable("a\nb\tc") == "a�b�c"
    assert printable_lines("a\nb\tc\rd") == "a\nb\tc�d"


@pytest.mark.parametrize("text", [STEERING, HARMLESS, "\U000e0001 tag", "\x7f"])
def test_escaped_json_says_the_same_in_harmless_characters(text: str) -> None:
    plain = json.dumps({"text": text}, ensure_ascii=False, indent=1)

    assert json.loads(escaped(plain)) == {"text": text}
    assert printable_lines(escaped(plain)) == escaped(plain)


def test_say_and_complain_print_lines_and_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"one\n{STEERING}")
    say_json({"text": STEERING})
    complain(STEERING)

    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["one", printable(STEERING)]
    assert out.isascii() is False
    assert json.loads(out.splitlines()[2]) == {"text": STEERING}
    assert err == f"{printable(STEERING)}\n"


def test_tables_and_drawn_text_are_harmless_too() -> None:
    assert drawn(STEERING).plain == printable(STEERING)
    assert plain_table([("head",), ("a\nb\x1b",)], [0]) == ["head", "a�b�"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_terminals_encoding_lacks_are_printed_as_escapes(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, write_through=True))

    accept_any_text()
    say("ü 漢")

    assert written.getvalue() == "ü 漢\n".encode(encoding, "backslashreplace")


def test_a_stream_that_is_no_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    accept_any_text()
    say("ü")


def test_commands_print_through_this_file_alone() -> None:
    """A command that prints by itself could print foreign text unescaped."""
    folder = Path(pyrallel_consumer.cli.__file__).parent
    others = [path for path in folder.rglob("*.py") if path.name != "terminal.py" and path.parent.name != "demo"]
    calls = [
        f"{path.name}:{node.lineno}"
        for path in others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "Text"}
    ]

    assert calls == []
