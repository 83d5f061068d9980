"""The new offsets of a group, from the user's argument and the broker's answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

from pyrallel_consumer.dto import TopicPartition

End = Literal["earliest", "latest"]
HEAD: Final = ("partition", "committed", "new offset", "runs again", "passed over", "lag")


@dataclass(frozen=True, slots=True)
class Target:
    """One of the three: an end of the log, a time in milliseconds since 1970 UTC, or an offset."""

    end: End | None = None
    timestamp_ms: int | None = None
    offset: int | None = None


class Partition(NamedTuple):
    """The broker's answers. ``low`` and ``high`` are the ends of the log; ``at_time``: the first offset of the time."""

    tp: TopicPartition
    low: int
    high: int
    committed: int | None
    has_map: bool
    at_time: int | None = None


class Move(NamedTuple):
    """``offset`` is where the group will begin; ``is_cut``: the log does not hold the offset that was asked for."""

    partition: Partition
    offset: int
    is_cut: bool

    @property
    def again(self) -> int:
        """Offsets that run again at most, since the group had committed past them."""
        committed = self.partition.committed
        return 0 if committed is None else max(0, committed - self.offset)

    @property
    def passed_over(self) -> int:
        """Offsets that no consumer of the group will see."""
        before = self.partition.low if self.partition.committed is None else self.partition.committed
        return max(0, self.offset - before)


def parse_target(text: str) -> Target:
    """Read ``earliest``, ``latest``, an offset, or a time in ISO 8601 with its zone. Raises ValueError with advice."""
    word = text.strip()
    if word in {"earliest", "latest"}:
        return Target(end="earliest" if word == "earliest" else "latest")
    if word.isdecimal():
        return Target(offset=int(word))
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        raise ValueError(
            f"{text!r} is none of earliest, latest, an offset, or a time such as 2026-11-30T08:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: write {word}Z for UTC, or an offset such as {word}+01:00")
    return Target(timestamp_ms=int(moment.timestamp() * 1000))


def moves_to(target: Target, partitions: Sequence[Partition]) -> list[Move]:
    """Where each partition goes. An offset that the log does not hold is cut to the nearer end."""
    return [_move(target, each) for each in partitions]


def _move(target: Target, partition: Partition) -> Move:
    if target.end is not None:
        return Move(partition, partition.low if target.end == "earliest" else partition.high, is_cut=False)
    if target.offset is None:  # Nothing is of that time or later: all of the log is before it.
        return Move(partition, partition.high if partition.at_time is None else partition.at_time, is_cut=False)
    offset = min(max(target.offset, partition.low), partition.high)
    return Move(partition, offset, is_cut=offset != target.offset)


def rows_of(moves: Sequence[Move]) -> list[tuple[str, ...]]:
    """The table."""
    return [HEAD, *map(_row, moves)]


def _row(move: Move) -> tuple[str, ...]:
    partition = move.partition
    return (
        str(partition.tp.partition),
        "never" if partition.committed is None else str(partition.committed),
        str(move.offset),
        f"{move.again:,}",
        f"{move.passed_over:,}",
        f"{partition.high - move.offset:,}",
    )


def document_of(group: str, topic: str, moves: Sequence[Move], *, is_dry_run: bool) -> Mapping[str, object]:
    """What ``--json`` prints."""
    return {
        "ok": True,
        "group": group,
        "topic": topic,
        "dry_run": is_dry_run,
        "partitions": [
            {
                "partition": move.partition.tp.partition,
                "committed_offset": move.partition.committed,
                "new_offset": move.offset,
                "runs_again": move.again,
                "passed_over": move.passed_over,
                "is_cut": move.is_cut,
                "map_dropped": move.partition.has_map,
            }
            for move in moves
        ],
    }
