"""What ``inspect`` found, ready to be read: sections of lines and one table each, and the same as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyrallel_consumer.cli.inspect.gaps import PartitionGaps, Signs, ranges_text
from pyrallel_consumer.cli.inspect.status_shown import key_rows, lag_of, slow_of, verdict_lines

MIB = 1024 * 1024
RUNNING_HEAD = (
    *("partition", "epoch", "committed", "fetched", "gaps", "blocking", "for"),
    *("queued", "in flight", "held", "failed", "paused for"),
)
STATUS_HEAD = ("lag", "starved/paused/blocked s")
GROUP_HEAD = (
    *("partition", "committed", "log end", "lag", "finished above", "to do", "gaps", "unfinished"),
    "from committed to log end",
)


@dataclass(frozen=True, slots=True)
class Section:
    """``rows`` begin with the head and are empty where there is nothing to list; ``left_aligned`` columns are text.

    ``dispensable`` columns are left out one after the other where a terminal is too narrow.
    """

    lines: Sequence[str]
    rows: Sequence[Sequence[str]] = ()
    left_aligned: Sequence[int] = ()
    notes: Sequence[str] = ()
    dispensable: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One look. ``document`` is what ``--json`` prints."""

    sections: Sequence[Section]
    document: Mapping[str, Any]


def report_of_running(document: Mapping[str, Any], statuses: Sequence[Mapping[str, Any]] = ()) -> Report:
    """The report on a running consumer, from its ``snapshot_document`` and, if it has one, its status page's data.

    ``statuses`` are in the order of the document's consumers. Raises KeyError or the like for anything else.
    """
    sections: list[Section] = []
    consumers = document["consumers"]
    for at, consumer in enumerate(consumers):
        status = statuses[at] if len(statuses) == len(consumers) else None
        sections.append(_consumer(consumer, status))
        if status is not None and (rows := key_rows(status)):
            sections.append(Section(("the slowest keys, by their fingerprints",), rows, (0, 1, 3), dispensable=(6, 4)))
    told = {"ok": True, **document, **({"status": [*statuses]} if statuses else {})}
    return Report(sections or [Section(("No consumer runs there at the moment.",))], told)


def report_of_group(group: str, topic: str, partitions: Sequence[PartitionGaps], signs: Signs) -> Report:
    """Of a group's commits to a topic."""
    lag, finished = sum(each.lag for each in partitions), sum(each.finished_above for each in partitions)
    lines = (
        f"group {group}, topic {topic}",
        f"lag {lag:,}: {finished:,} finished above the committed offsets, {lag - finished:,} to do",
    )
    rows = [GROUP_HEAD, *(_group_row(each, signs) for each in partitions)]
    notes = [each.warning for each in partitions if each.warning]
    if lag:
        notes.append(
            f"{signs.finished} finished  {signs.partly} partly  {signs.unfinished} unfinished  "
            f"{signs.unread} not in the commit"
        )
    document = {
        "ok": True,
        "group": group,
        "topic": topic,
        "lag": lag,
        "finished_above": finished,
        "partitions": [each.to_json() for each in partitions],
    }
    return Report([Section(lines, rows, (7, 8), notes, dispensable=(5, 2, 7, 6))], document)


def _group_row(gaps: PartitionGaps, signs: Signs) -> tuple[str, ...]:
    return (
        str(gaps.tp.partition),
        "never" if gaps.committed_offset is None else str(gaps.committed_offset),
        str(gaps.log_end_offset),
        f"{gaps.lag:,}",
        f"{gaps.finished_above:,}",
        f"{gaps.lag - gaps.finished_above:,}",
        f"{gaps.gap_count:,}",
        ranges_text(gaps.unfinished_ranges()),
        gaps.picture(signs) or "-",
    )


def _consumer(consumer: Mapping[str, Any], status: Mapping[str, Any] | None) -> Section:
    settings = consumer["settings"]
    partitions = sorted(consumer["partitions"], key=lambda each: (each["topic"], each["partition"]))
    facts = {
        "state": ", ".join(_state(consumer)),
        "set to": f"mode {settings['mode']}, order {settings['ordering_mode']}, "
        f"{settings['max_attempts']} attempts, then {settings['on_exhausted']}",
        "load": f"{consumer['load_messages']:,} of {consumer['queue_max_messages']:,} messages, "
        f"{consumer['load_bytes'] / MIB:,.1f} of {consumer['queue_max_bytes'] / MIB:,.1f} MiB",
        "work": f"{consumer['in_flight']:,} of {consumer['max_in_flight']:,} in flight, {consumer['queued']:,} queued, "
        f"{consumer['waiting_retries']:,} waiting for a retry, {consumer['held']:,} held, {consumer['stuck']:,} stuck",
        "so far": f"{consumer['processed']:,} processed, {consumer['failed']:,} failed, {consumer['retries']:,} "
        f"retries, {consumer['retry']['timeouts']:,} timeouts, {consumer['fenced_completions']:,} fenced",
        "commits": f"{consumer['commits']:,}, of which {consumer['commit_failures']:,} failed; "
        f"{consumer['rebalances']:,} rebalances",
        "letters": _letters(consumer["dead_letters"]),
    }
    lines = (
        f"group {settings['group']}, topic {settings['topic']}{_protocol(settings)}",
        *(verdict_lines(status) if status is not None else ()),
        *(f"{name:9}{fact}" for name, fact in facts.items()),
    )
    if not partitions:
        return Section((*lines, "no partition is assigned"))
    if status is None:
        return Section(lines, [RUNNING_HEAD, *map(_partition_row, partitions)], (0, 11), dispensable=(1, 9, 10, 4, 7))
    rows = [
        (*_partition_row(each), *(told(status, each["topic"], each["partition"]) for told in (lag_of, slow_of)))
        for each in partitions
    ]
    return Section(lines, [RUNNING_HEAD + STATUS_HEAD, *rows], (0, 11), dispensable=(1, 9, 10, 4, 13, 7))


def _protocol(settings: Mapping[str, Any]) -> str:
    protocol = settings.get("group_protocol")  # releases before this setting do not tell it
    return f", group protocol {protocol}" if protocol else ""


def _state(consumer: Mapping[str, Any]) -> Iterable[str]:
    yield consumer["state"]
    if consumer["is_paused"]:
        yield "paused"
    if consumer["is_rebalancing"]:
        yield "rebalancing"
    if consumer["is_circuit_open"]:
        yield "circuit open"
    yield f"{consumer['age_seconds']:.1f} s ago"


def _letters(letters: Mapping[str, Any]) -> str:
    if not letters["is_enabled"]:
        return "off"
    failures = ", ".join(f"{count:,} {name}" for name, count in letters["failures"].items())
    return (
        f"to *{letters['topic_suffix']}: {letters['sent']:,} sent, {letters['waiting']:,} waiting"
        f"{', FAILING NOW' if letters['is_failing'] else ''}{f' (refused: {failures})' if failures else ''}"
    )


def _partition_row(partition: Mapping[str, Any]) -> tuple[str, ...]:
    is_blocked = partition["blocking_offset"] is not None
    return (
        f"{partition['topic']}[{partition['partition']}]",
        str(partition["epoch"]),
        str(partition["committed_offset"]),
        str(partition["fetched_offset"]),
        f"{partition['gap_count']:,}",
        str(partition["blocking_offset"]) if is_blocked else "-",
        f"{partition['blocking_seconds']:.1f} s" if is_blocked else "-",
        f"{partition['queued']:,}",
        f"{partition['in_flight']:,}",
        f"{partition['held']:,}",
        f"{partition['failed']:,}",
        ", ".join(partition["paused_for"]) or "-",
    )
