"""What commands print: text that strangers wrote can neither steer the terminal nor end the command.

Every command prints through this file, for any text may be a stranger's: a broker's, another process's, an error's
with a payload in it. Light: the command line loads it always.
"""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

_KEPT = "\n\t"


def printable(text: str) -> str:
    """The text for one line of a terminal."""
    return text if text.isprintable() else "".join(_harmless(sign) for sign in text)


def printable_lines(text: str) -> str:
    """Like ``printable``; line ends and tabs stay."""
    return text if text.isprintable() else "".join(sign if sign in _KEPT else _harmless(sign) for sign in text)


def escaped(json_text: str) -> str:
    """JSON that can be printed as it is, and still says the same; its line ends stay."""
    if json_text.isprintable():
        return json_text
    return "".join(sign if sign == "\n" or _is_harmless(sign) else json.dumps(sign)[1:-1] for sign in json_text)


def say(text: str) -> None:
    """Print to standard output."""
    print(printable_lines(text), flush=True)


def say_json(document: Mapping[str, object]) -> None:
    """Print a JSON object on one line, in ASCII."""
    print(json.dumps(document, default=str), flush=True)


def complain(text: str) -> None:
    """Print to standard error."""
    print(printable_lines(text), file=sys.stderr, flush=True)


def drawn(text: str, style: str = "") -> Text:
    """The text for what rich draws; its line ends stay."""
    from rich.text import Text  # noqa: PLC0415 -- heavy: only what draws needs it

    return Text(printable_lines(text), style)


def accept_any_text() -> None:
    """Print characters that the terminal's encoding lacks as escapes, so that they do not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_harmless(sign: str) -> bool:
    """Whether the character is printed only: it is no control character and changes no text direction."""
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def _harmless(sign: str) -> str:
    return sign if _is_harmless(sign) else "\N{REPLACEMENT CHARACTER}"
