"""The pages of the reference, made from the code: settings, metrics, commands, and the public names.

Everything on them is read from where it is declared; there is nothing to keep up to date here.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

import pyrallel_consumer
from pyrallel_consumer import cli
from pyrallel_consumer.cli.run.config import RunConfig
from pyrallel_consumer.config import (
    ExecutionConfig,
    KafkaConfig,
    MetricsConfig,
    OutputConfig,
    ParallelConsumerConfig,
    RayConfig,
)
from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.observability.metrics.families import FAMILIES, Merge

SETTINGS: tuple[type[Settings], ...] = (
    KafkaConfig,
    ParallelConsumerConfig,
    ExecutionConfig,
    OutputConfig,
    RayConfig,
    MetricsConfig,
    RunConfig,
)


SPELT = {"dlq": "DLQ", "fastapi": "FastAPI", "http": "HTTP", "postgres": "PostgreSQL", "sqlite": "SQLite"}
EXAMPLES = Path(__file__).parents[1] / "examples"


def pages() -> dict[str, str]:
    """Name of the page and its Markdown."""
    return {
        "settings": settings_page(),
        "metrics": metrics_page(),
        "commands": commands_page(),
        "api": api_page(),
        "examples": examples_page(),
    }


def settings_page() -> str:
    return "\n\n".join(_settings_section(each) for each in SETTINGS)


def _settings_section(settings: type[Settings]) -> str:
    said = _said_of_fields(settings)
    fields = [_setting(settings, name, field, said.get(name, "")) for name, field in settings.model_fields.items()]
    return "\n\n".join([f"## {settings.__name__}", inspect.getdoc(settings) or "", *fields])


def _setting(settings: type[Settings], name: str, field: FieldInfo, said: str) -> str:
    if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
        return f"### {name}\n\nNested: [{field.annotation.__name__}](#{field.annotation.__name__.lower()})."
    names = ", ".join(f"`{variable}`" for rank in settings.variables_of(name) for variable in rank)
    facts = [f"- environment: {names}", f"- default: `{_default(field)}`"]
    if values := _values(field.annotation):
        facts.insert(1, f"- one of {', '.join(f'`{value}`' for value in values)}")
    return "\n".join([f"### {name}", "", *facts, "", said])


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Enum):
        return str(value.value)
    return "unset" if value is None else ", ".join(value) if isinstance(value, list) else str(value)


def _values(annotation: Any) -> list[str]:
    found: list[str] = []
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, Enum):
            found += [member.value for member in part]
        elif get_origin(part) is Literal:
            found += get_args(part)
    return found


def _said_of_fields(settings: type[Settings]) -> dict[str, str]:
    """The string below each field, as in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    said = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            said[field.target.id] = inspect.cleandoc(str(ast.literal_eval(below.value)))
    return said


def metrics_page() -> str:
    rows = [
        f"| `{family.name}` | {family.kind.value} | {', '.join(family.labels) or '-'} | {family.help}"
        f"{' The largest.' if family.merge is Merge.MAX else ''} |"
        for family in FAMILIES
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def commands_page() -> str:
    command = get_command(cli.main)
    return get_docs_for_click(obj=command, ctx=Context(command), name="pyrallel-consumer", indent=1)


def api_page() -> str:
    """Public names by the module they are documented in; settings have a page of their own."""
    by_module: dict[str, list[str]] = {"pyrallel_consumer.consumer": [], "pyrallel_consumer.dto": []}
    for name in pyrallel_consumer.__all__:
        value = getattr(pyrallel_consumer, name)
        if not (isinstance(value, type) and issubclass(value, Settings)):
            by_module.setdefault(_public_module(value), []).append(name)
    for name in import_module("pyrallel_consumer.testing").__all__:
        by_module.setdefault("pyrallel_consumer.testing", []).append(name)
    return "\n\n".join(_api_section(module, names) for module, names in by_module.items())


def _public_module(value: Any) -> str:
    """The module that users import ``value`` from."""
    package = "pyrallel_consumer.dto"
    return package if value.__module__.startswith(f"{package}.") else str(value.__module__)


def _api_section(module: str, names: list[str]) -> str:
    lines = [f"## {module}", "", "```{eval-rst}"]
    for name in names:
        value = getattr(import_module(module), name)
        kind = "function" if inspect.isfunction(value) else "exception" if issubclass(value, Exception) else "class"
        lines.append(f".. auto{kind}:: {module}.{name}")
        lines += [] if kind == "function" else ["   :members:", "   :undoc-members:", "   :show-inheritance:"]
        lines.append("")
    return "\n".join([*lines, "```"])


def examples_page() -> str:
    """What each example shows and needs, from the table of their README, and its source to unfold."""
    table = (EXAMPLES / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \| (.+?) \| (.*?) ?\|$", table, re.MULTILINE)
    return "\n\n".join(_example(*row) for row in rows)


def _example(name: str, shown: str, needed: str) -> str:
    needs = f"Needs {needed}." if needed else "Needs nothing else."
    source = (EXAMPLES / f"{name}.py").read_text("utf-8").rstrip()
    title = " ".join(SPELT.get(word, word) for word in name.split("_"))
    title = title[:1].upper() + title[1:]
    unfold = f"<details><summary>examples/{name}.py</summary>\n\n````python\n{source}\n````\n\n</details>"
    return f"## {title}\n\n{shown[:1].upper()}{shown[1:]}. {needs}\n\n{unfold}"
