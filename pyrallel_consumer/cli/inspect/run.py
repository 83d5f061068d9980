"""Carries out ``inspect``: asks a running consumer or the broker, once or repeatedly, and prints the answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from rich.console import Console, Group, RenderableType
from rich.live import Live

from pyrallel_consumer.cli.command import EXIT_OK
from pyrallel_consumer.cli.inspect.gaps import BLOCKS, PLAIN, PartitionGaps, gaps_of
from pyrallel_consumer.cli.inspect.report import Report, Section, report_of_group, report_of_running
from pyrallel_consumer.cli.table import drawn_table, fitting_columns, plain_table
from pyrallel_consumer.cli.terminal import drawn, printable, say, say_json
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError, PyrallelConsumerError, UnknownTopicError
from pyrallel_consumer.ingress.admin.group_reader import GroupReader

ROUTE: Final = "/snapshot.json"
STATUS_ROUTE: Final = "/status.json"
TIMEOUT_SECONDS: Final = 5.0
BETWEEN_SECONDS: Final = 0.2
MOST_ASKED: Final = 6

Look = Callable[[], Report]


class UnreachableConsumerError(PyrallelConsumerError):
    """No consumer answers at the address, or the answer is not a consumer's."""


def run_running(url: str, *, as_json: bool, every_seconds: float | None) -> int:
    """The report of a running consumer. Raises a PyrallelConsumerError if none answers."""
    return _run(lambda: look_at_running(url), as_json=as_json, every_seconds=every_seconds)


def run_group(config: KafkaConfig, group: str, topic: str, *, as_json: bool, every_seconds: float | None) -> int:
    """Of a group's commits. Raises a PyrallelConsumerError if the broker, the topic or the group prevents it."""
    with GroupReader(config, group) as reader:
        return _run(lambda: look_at_group(reader, group, topic), as_json=as_json, every_seconds=every_seconds)


def look_at_running(url: str) -> Report:
    """Ask the consumer's endpoint once."""
    root = url.rstrip("/").removesuffix(ROUTE)
    address = root + ROUTE
    try:
        document = _asked(address)
        return report_of_running(document, _statuses(root) if document["consumers"] else ())
    except HTTPError as error:
        error.close()  # It is the answer, too, with its connection.
        raise UnreachableConsumerError(
            f"{address} answers {error.code} {error.reason}: is that the metrics endpoint of a consumer?"
        ) from error
    except (URLError, HTTPException, OSError) as error:
        why = error.reason if isinstance(error, URLError) else error
        raise UnreachableConsumerError(
            f"no consumer answers at {address} ({why}): start it with METRICS_ENABLED=true or --metrics-port, and give "
            "its address with --url, or by METRICS_HOST and METRICS_PORT"
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise UnreachableConsumerError(
            f"{address} answers with something that is no snapshot of this release's consumers ({error!r})"
        ) from error


def _asked(address: str) -> Any:
    with urlopen(address, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 -- the option takes http and https alone
        return json.load(answer)


def _statuses(root: str) -> list[dict[str, Any]]:
    """Each consumer's part of the status page; empty if the endpoint has no such page.

    A consumer looks closely only while somebody asks, so the first answer has no keys, and a second one is requested.
    """
    try:
        names = _asked(root + STATUS_ROUTE)["consumers"]
        statuses: list[dict[str, Any]] = []
        for _ in range(MOST_ASKED):
            statuses = [_asked(f"{root}{STATUS_ROUTE}?{urlencode({'consumer': name})}") for name in names]
            if all(each["keys"] is not None for each in statuses):
                break
            time.sleep(BETWEEN_SECONDS)
    except HTTPError as error:
        error.close()
        return []
    return statuses


def look_at_group(reader: GroupReader, group: str, topic: str) -> Report:
    """Ask the broker once, for all partitions."""
    count = reader.topics().get(topic)
    if count is None:
        raise UnknownTopicError(f"there is no topic {topic!r}, or it may not be seen", code="UNKNOWN_TOPIC_OR_PART")
    partitions: list[PartitionGaps] = []
    for number in range(count):
        tp = TopicPartition(topic, number)
        noted = reader.noted(tp)  # Read before the ends of the log: they only grow, so the commit lies within.
        low, high = reader.ends(tp)
        partitions.append(gaps_of(tp, noted.offset, noted.metadata, low, high))
    if all(each.committed_offset is None for each in partitions):
        raise BrokerError(
            f"group {group!r} has committed nothing for topic {topic!r}: correct its name, or start its consumer first",
            code="_NO_OFFSET",
        )
    return report_of_group(group, topic, partitions, BLOCKS if _speaks_utf8() else PLAIN)


# Printing


def _run(look: Look, *, as_json: bool, every_seconds: float | None) -> int:
    report = look()  # An error of the first look is permanent; later errors are printed, and the look is repeated.
    console = Console(highlight=False)
    if as_json:
        _repeat(look, report, _print_json, every_seconds)
    elif every_seconds is None or not console.is_terminal or console.is_dumb_terminal:
        _repeat(look, report, lambda found: _print(console, found), every_seconds)
    else:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            _repeat(look, report, lambda found: live.update(_drawn(found, console.width), refresh=True), every_seconds)
    return EXIT_OK


def _repeat(look: Look, first: Report, show: Callable[[Report], None], every_seconds: float | None) -> None:
    show(first)
    while every_seconds is not None:
        time.sleep(every_seconds)
        try:
            report = look()
        except PyrallelConsumerError as error:
            report = Report([Section((f"Error: {error}",))], {"ok": False, "error": str(error)})
        show(report)


def _print_json(report: Report) -> None:
    say_json(report.document)


def _print(console: Console, report: Report) -> None:
    if console.is_terminal:
        console.print(_drawn(report, console.width))
        return
    for section in report.sections:
        rows = plain_table(section.rows, section.left_aligned) if section.rows else []
        say("\n".join((*map(printable, section.lines), *rows, *map(printable, section.notes))))


def _drawn(report: Report, width: int) -> RenderableType:
    parts: list[RenderableType] = []
    for section in report.sections:
        title, *lines = section.lines
        parts += [drawn(title, "bold"), *map(drawn, lines)]
        if section.rows:
            parts += [drawn(""), *_drawn_rows(section, width)]
        parts += [drawn(note, "dim") for note in section.notes] + [drawn("")]
    return Group(*parts[:-1])


def _drawn_rows(section: Section, width: int) -> Sequence[RenderableType]:
    columns = fitting_columns(section.rows, width, section.dispensable)
    rows = [[row[at] for at in columns] for row in section.rows]
    table = drawn_table(rows, [at for at, column in enumerate(columns) if column in section.left_aligned])
    left_out = [name for at, name in enumerate(section.rows[0]) if at not in columns]
    return [table, drawn(f"(a wider terminal shows: {', '.join(left_out)})", "dim")] if left_out else [table]


def _speaks_utf8() -> bool:
    return Console().encoding.startswith("utf")
