"""The demo's state at one moment, from the ledger, the consumers' snapshots and the log's ends. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyrallel_consumer.dto import PartitionSnapshot, RuntimeSnapshot

RATE_WINDOW_SECONDS = 1.0
HISTORY_SECONDS = 0.25
HISTORY_LENGTH = 240


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition of the topic; ``consumer`` is None while it moves from one to another."""

    partition: int
    consumer: str | None
    end_offset: int
    committed_offset: int
    fetched_offset: int
    in_flight: int = 0
    gaps: int = 0

    @property
    def lag(self) -> int:
        return max(0, self.end_offset - self.committed_offset)


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole run at one moment; ``rate`` is that of the last second, ``rates`` are earlier ones, oldest first."""

    expected: int
    processed: int
    rate: float
    rates: tuple[float, ...]
    sequential_bound: float
    in_flight: int
    most_in_flight: int
    order_violations: int
    duplicates: int
    rows: tuple[PartitionRow, ...]

    @property
    def lag(self) -> int:
        return sum(row.lag for row in self.rows)

    @property
    def gaps(self) -> int:
        return sum(row.gaps for row in self.rows)


class RateMeter:
    """How fast a counter grows, now and since the first look."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()
        self._history: deque[float] = deque(maxlen=HISTORY_LENGTH)
        self._history_at = float("-inf")

    def look(self, now: float, count: int) -> float:
        """Note the counter and return its growth per second over the last second."""
        looks = self._looks
        looks.append((now, count))
        while len(looks) > 2 and looks[1][0] <= now - RATE_WINDOW_SECONDS:  # noqa: PLR2004 -- two ends of a span
            looks.popleft()
        since, counted = looks[0]
        rate = (count - counted) / (now - since) if now > since else 0.0
        if now >= self._history_at + HISTORY_SECONDS:
            self._history_at = now
            self._history.append(rate)
        return rate

    @property
    def history(self) -> tuple[float, ...]:
        """The rates, one every quarter of a second, oldest first."""
        return tuple(self._history)


def partition_rows(
    end_offsets: Mapping[int, int], snapshots: Mapping[str, RuntimeSnapshot], before: Iterable[PartitionRow]
) -> tuple[PartitionRow, ...]:
    """One row per partition, ascending; a partition without an owner keeps its row of ``before``."""
    held: dict[int, tuple[str, PartitionSnapshot]] = {}
    for consumer, snapshot in sorted(snapshots.items(), key=lambda named: named[1].taken_at):
        held |= {seen.tp.partition: (consumer, seen) for seen in snapshot.partitions}
    reached = {row.partition: row.committed_offset for row in before}
    rows = []
    for partition, end_offset in sorted(end_offsets.items()):
        if partition in held:
            consumer, seen = held[partition]
            rows.append(
                PartitionRow(
                    partition=partition,
                    consumer=consumer,
                    end_offset=end_offset,
                    committed_offset=seen.committed_offset,
                    fetched_offset=seen.fetched_offset,
                    in_flight=seen.in_flight,
                    gaps=seen.gap_count,
                )
            )
        else:
            offset = reached.get(partition, 0)
            rows.append(PartitionRow(partition, None, end_offset, offset, offset))
    return tuple(rows)
