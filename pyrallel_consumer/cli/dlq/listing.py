"""Letters one by one, with the place of each, so that ``dlq show`` can be asked for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pyrallel_consumer.cli.dlq.letter import UNKNOWN, StoredLetter
from pyrallel_consumer.cli.dlq.shown import time_of

LISTED_TEXTS: Final = (0, 3, 4, 5, 6, 7)
"""Columns of the table that are text; the others are numbers."""
LONGEST_REASON: Final = 80
_HEAD: Final = ("dlq topic", "partition", "offset", "failed", "group", "source", "replayed", "error")


class Listing:
    """The first ``most`` letters; ``left_out`` counts the others, if any are listed."""

    def __init__(self, most: int) -> None:
        self.letters: list[tuple[StoredLetter, bool]] = []
        self.left_out = 0
        self._most = most

    def add(self, letter: StoredLetter, *, is_replayed: bool) -> None:
        if len(self.letters) < self._most:
            self.letters.append((letter, is_replayed))
        elif self._most:
            self.left_out += 1

    def table(self) -> Sequence[tuple[str, ...]]:
        """As rows of text, with a head."""
        return [_HEAD, *(_row(letter, is_replayed) for letter, is_replayed in self.letters)]

    def to_json(self) -> Sequence[Mapping[str, object]]:
        return [
            {
                "dlq_topic": letter.tp.topic,
                "partition": letter.tp.partition,
                "offset": letter.offset,
                "failed_at_ms": letter.failed_at_ms,
                "group": letter.group,
                "source": letter.source._asdict() if letter.source else None,
                "replayed": is_replayed,
                "error": letter.reason,
            }
            for letter, is_replayed in self.letters
        ]


def _row(letter: StoredLetter, is_replayed: bool) -> tuple[str, ...]:
    source = letter.source
    reason = letter.reason
    return (
        letter.tp.topic,
        str(letter.tp.partition),
        str(letter.offset),
        time_of(letter.failed_at_ms),
        letter.group,
        f"{source.topic}[{source.partition}]@{source.offset}" if source else UNKNOWN,
        "yes" if is_replayed else "no",
        reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}...",
    )
