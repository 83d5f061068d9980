"""``pyrallel-consumer config``: every setting, its value, and its source. No secret is shown."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from pydantic import SecretStr
from rich.console import Console

from pyrallel_consumer.cli.command import EXIT_OK
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.run.settings import DEFAULT, Origin, RunSettings, settings_of, typos
from pyrallel_consumer.cli.terminal import drawn, say_json
from pyrallel_consumer.config.settings import MASK, Settings, revealed, shown_mapping


def show_config(flags: Flags, *, as_json: bool) -> int:
    """Raises ConfigurationError if a setting does not fit."""
    settings = settings_of(flags)
    if as_json:
        say_json({"settings": _as_json(settings), "warnings": typos()})
    else:
        _print(Console(highlight=False), settings)
    return EXIT_OK


def _rows(settings: RunSettings, part: Settings) -> list[tuple[str, str, object, Origin]]:
    """Field, variable, value without secrets, origin."""
    return [
        (field, f"{part.environment_prefixes[0]}{field.upper()}", _plain(part, field), settings.origin(part, field))
        for field in type(part).model_fields
        if not isinstance(getattr(part, field), Settings)
    ]


def _plain(part: Settings, field: str) -> object:
    value: Any = getattr(part, field)
    if field in part.masked_fields:
        return shown_mapping(value)
    if isinstance(value, SecretStr):
        return MASK if revealed(value) else None
    return value.value if isinstance(value, Enum) else value


def _as_json(settings: RunSettings) -> dict[str, Any]:
    return {
        type(part).__name__: {
            field: {"value": value, "source": origin.kind, "name": origin.name or None, "variable": variable}
            for field, variable, value, origin in _rows(settings, part)
        }
        for part in settings.parts()
    }


def _print(console: Console, settings: RunSettings) -> None:
    sections = [(type(part).__name__, _rows(settings, part)) for part in settings.parts()]
    lines = [line for _, rows in sections for line in rows]
    name_width = max(len(variable) for _, variable, _, _ in lines)
    value_width = max(len(_text(value)) for _, _, value, origin in lines if origin is DEFAULT)
    for title, rows in sections:
        console.print(drawn(title, "bold"))
        for _, variable, value, origin in rows:
            line = f"  {variable:<{name_width}}  {_text(value):<{value_width}}  {_source(origin, variable)}"
            console.print(drawn(line, "dim" if origin is DEFAULT else ""), soft_wrap=True)
    for sentence in typos():
        console.print(drawn(f"Warning: {sentence}", "yellow"), soft_wrap=True)


def _source(origin: Origin, variable: str) -> str:
    return origin.kind if origin.name == variable else str(origin)


def _text(value: object) -> str:
    match value:
        case None | []:
            return "-"
        case bool():
            return str(value).lower()
        case list():
            return ",".join(map(str, value))
        case dict():
            return json.dumps(value) if value else "-"
        case _:
            return str(value)
