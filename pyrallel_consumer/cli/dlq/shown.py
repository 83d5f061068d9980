"""One letter for a reader: as lines, or as a JSON object. Bytes are shown as text if they are UTF-8, else as hex.

Pure. Control characters of a letter never reach a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from pyrallel_consumer.cli.dlq.letter import UNKNOWN, StoredLetter
from pyrallel_consumer.cli.terminal import escaped, printable, printable_lines

FIELD_WIDTH: Final = 10


def text_of(data: bytes | None) -> str:
    """Printable UTF-8 as it is, else ``hex:`` and digits; a dash for None."""
    if data is None:
        return "-"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"hex:{data.hex()}"
    return text if printable_lines(text) == text else f"hex:{data.hex()}"


def value_of(data: bytes | None) -> str:
    """Like ``text_of``; JSON is indented, and control characters in it stay escaped."""
    text = text_of(data)
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return escaped(json.dumps(json.loads(text), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):  # it only looks like JSON, or is too deep
        return text


def time_of(at_ms: int | None) -> str:
    """The time in UTC; a dash if there is none."""
    if at_ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError):
        return f"{at_ms} ms"


def lines_of(letter: StoredLetter) -> Sequence[str]:
    """The letter as lines of text."""
    source = letter.source
    lines = [
        f"letter    {letter.tp}@{letter.offset}",
        f"source    {printable(f'{source.topic}[{source.partition}]@{source.offset}') if source else '(not named)'}",
        f"error     {printable(letter.reason)}",
        f"group     {printable(letter.group)}",
        f"failed    {time_of(letter.failed_at_ms)}",
        f"attempts  {UNKNOWN if letter.attempts is None else letter.attempts}",
        f"replays   {letter.replays}",
        f"time      {time_of(letter.timestamp_ms)}",
        f"key       {_indented(text_of(letter.key))}",
    ]
    lines += [f"header    {printable(name)}: {_indented(text_of(value))}" for name, value in letter.headers]
    if letter.headers_omitted is not None:
        lines.append(f"headers   left out ({printable(letter.headers_omitted)})")
    if letter.why_not_replayable:
        lines.append(f"cannot be replayed: {printable(letter.why_not_replayable)}")
    if letter.traceback:
        lines.append(f"traceback {_indented(letter.traceback)}")
    return [*lines, "value", value_of(letter.value)]


def _indented(text: str) -> str:
    """The text with its further lines indented behind the field names, so that no text looks like a field."""
    return text.replace("\n", f"\n{' ' * FIELD_WIDTH}")


def json_of(letter: StoredLetter) -> Mapping[str, object]:
    """The letter in the form of ``--json``."""
    return {
        "dlq_topic": letter.tp.topic,
        "partition": letter.tp.partition,
        "offset": letter.offset,
        "source": letter.source._asdict() if letter.source else None,
        "group": letter.group,
        "failed_at_ms": letter.failed_at_ms,
        "error": letter.reason,
        "traceback": letter.traceback or None,
        "attempts": letter.attempts,
        "replays": letter.replays,
        "timestamp_ms": letter.timestamp_ms,
        "key": None if letter.key is None else text_of(letter.key),
        "value": None if letter.value is None else text_of(letter.value),
        "headers": [[name, None if value is None else text_of(value)] for name, value in letter.headers],
        "headers_omitted": letter.headers_omitted,
        "not_replayable_because": letter.why_not_replayable,
    }
