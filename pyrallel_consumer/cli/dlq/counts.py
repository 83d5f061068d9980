"""How many letters there are, by topic, error and source, and how old they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pyrallel_consumer.cli.dlq.letter import UNKNOWN, StoredLetter
from pyrallel_consumer.cli.terminal import printable

_SPANS: Final = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))


class Kind(NamedTuple):
    """Letters with the same values are counted together."""

    dlq_topic: str
    group: str
    error: str
    source_topic: str


@dataclass(slots=True)
class Count:
    """Letters of one kind. ``reason`` is that of the last one; times are the messages' own, in milliseconds."""

    kind: Kind
    letters: int = 0
    replayed: int = 0
    without_payload: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None
    reason: str = UNKNOWN

    def add(self, letter: StoredLetter, *, is_replayed: bool) -> None:
        self.letters += 1
        self.replayed += is_replayed
        self.without_payload += letter.why_not_replayable is not None
        self.reason = letter.reason
        at = letter.timestamp_ms
        if at is not None:
            self.oldest_ms = at if self.oldest_ms is None else min(self.oldest_ms, at)
            self.newest_ms = at if self.newest_ms is None else max(self.newest_ms, at)

    def to_json(self) -> Mapping[str, object]:
        return {
            **self.kind._asdict(),
            "letters": self.letters,
            "replayed": self.replayed,
            "not_replayable": self.without_payload,
            "oldest_ms": self.oldest_ms,
            "newest_ms": self.newest_ms,
            "last_reason": self.reason,
        }


class Counts:
    """Counts letters as they are read."""

    def __init__(self) -> None:
        self._by_kind: dict[Kind, Count] = {}
        self.letters = 0

    def add(self, letter: StoredLetter, *, is_replayed: bool) -> None:
        kind = Kind(letter.tp.topic, letter.group, letter.error, letter.source.topic if letter.source else UNKNOWN)
        if kind not in self._by_kind:
            self._by_kind[kind] = Count(kind)
        self._by_kind[kind].add(letter, is_replayed=is_replayed)
        self.letters += 1

    def rows(self) -> Sequence[Count]:
        """By topic, and the most frequent first."""
        return sorted(self._by_kind.values(), key=lambda count: (count.kind.dlq_topic, -count.letters, count.kind))


def table_of(counts: Iterable[Count], now_ms: int) -> list[tuple[str, ...]]:
    """The counts as rows of text, with a head."""
    head = (
        *("dlq topic", "group", "error", "source topic", "letters", "replayed", "not replayable"),
        *("oldest message", "newest"),
    )
    return [head] + [
        (
            *map(printable, count.kind),
            f"{count.letters:,}",
            f"{count.replayed:,}",
            f"{count.without_payload:,}",
            age(count.oldest_ms, now_ms),
            age(count.newest_ms, now_ms),
        )
        for count in counts
    ]


def age(at_ms: int | None, now_ms: int) -> str:
    """How long ago, in the largest unit of which there are at least two, else in seconds."""
    if at_ms is None:
        return "-"
    for unit, unit_ms in _SPANS:
        if now_ms - at_ms >= 2 * unit_ms:
            return f"{(now_ms - at_ms) // unit_ms} {unit}"
    return "now"
