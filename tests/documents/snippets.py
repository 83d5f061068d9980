"""The Python snippets of a document, found as Markdown's readers see them, and run as a user would run them.

A snippet is complete: what it needs it imports. One that runs an event loop or a consumer is a *program*: saved, run by
an interpreter of its own, told to stop (``ending/sitecustomize.py``) when it has nothing more to do. Any other is
executed here, and the tests that it defines are run, too.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.ingress.admin.scratch_topic import ScratchTopic
from pyrallel_consumer.testing import ConsumerKit
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker

ROOT = Path(__file__).parents[2]
ENDING = Path(__file__).with_name("ending")
MOST_SECONDS = 120
ORDERS = 40
IS_PROGRAM = re.compile(r"^\s*asyncio\.run\(|\.run_forever\(\)", re.MULTILINE)


class Snippet(NamedTuple):
    """One fenced block: where it stands, and its lines."""

    path: Path
    line: int
    text: str

    @property
    def is_program(self) -> bool:
        return IS_PROGRAM.search(self.text) is not None

    @property
    def name(self) -> str:
        where = self.path.relative_to(ROOT).with_suffix("").as_posix()
        return f"{re.sub(r'[^A-Za-z0-9]', '_', where)}_{self.line}"


def documents() -> list[Path]:
    """Every document that is written by hand."""
    written = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in written if "_generated" not in page.parts]


def blocks(path: Path, language: str) -> list[Snippet]:
    parsed = Document.parse(str(path), CodeBlockParser(language, _not_evaluated))
    return [
        Snippet(path, example.line + example.parsed.line_offset + 1, str(example.parsed))
        for example in parsed.examples()
    ]


def _not_evaluated(_: object) -> str | None:
    return None


def execute(snippet: Snippet) -> None:
    """Run it in this interpreter, in a namespace of its own, and the tests that it defines."""
    namespace: dict[str, Any] = {"__name__": snippet.name}
    exec(compile("\n" * snippet.line + snippet.text, str(snippet.path), "exec"), namespace)  # noqa: S102 -- ours
    for name, value in list(namespace.items()):
        if name.startswith("test_"):
            with ExitStack() as stack:
                fixtures = {"pyrallel_kit": lambda *given: stack.enter_context(ConsumerKit(*given))}
                outcome = value(*(fixtures[parameter] for parameter in inspect.signature(value).parameters))
                if inspect.iscoroutine(outcome):
                    asyncio.run(outcome)


def order(number: int) -> tuple[bytes, bytes]:
    """A record as the snippets expect it: JSON, keyed by the customer."""
    customer = f"customer-{number % 8}"
    return customer.encode(), json.dumps({"id": number, "customer": customer, "amount": 10 + number}).encode()


def run_program(snippet: Snippet, folder: Path) -> int:
    """Run it with 40 orders in the topic ``orders``; returns how many messages its consumers finished."""
    path = folder / f"{snippet.name}.py"
    path.write_text(snippet.text, "utf-8")
    report = folder / f"{snippet.name}.processed"
    with EmbeddedBroker({"orders": 4, "orders.dlq": 4, "invoices": 4}) as broker:
        config = KafkaConfig(bootstrap_servers=broker.bootstrap_servers)
        ScratchTopic(config, "orders", 4).append(map(order, range(ORDERS)))
        ran = subprocess.run(
            [sys.executable, "-W", "error", path],
            env=environment_without_settings(
                KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap_servers,
                PYTHONPATH=str(ENDING),
                SNIPPET_REPORT=str(report),
            ),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    assert ran.returncode == 0, f"{snippet.path}, line {snippet.line}:\n{ran.stdout}\n{ran.stderr}"
    return int(report.read_text("ascii")) if report.exists() else 0


def environment_without_settings(**added: str) -> dict[str, str]:
    """This process's environment without the library's variables, as on a user's machine."""
    ours = ("KAFKA_", "EXECUTION_", "PARALLEL_CONSUMER_", "METRICS_", "COV_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | added


def written_to(folder: Path, snippets: Iterable[Snippet]) -> list[Path]:
    """The snippets as modules, for tools that read files."""
    paths = []
    for snippet in snippets:
        paths.append(folder / f"{snippet.name}.py")
        paths[-1].write_text(snippet.text, "utf-8")
    return paths
