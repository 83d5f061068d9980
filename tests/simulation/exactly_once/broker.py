"""The broker of the simulation: logs, the group's offsets, and transactions; and the oracle over what it has written.

A transaction is carried out at once, or aborted, as the world says: offsets, maps, records and letters together. The
oracle sees all that is committed: each message's records once, in the order of its key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from pyrallel_consumer.control_plane.events import CommitSnapshot, Refusal
from pyrallel_consumer.control_plane.output.unwritten import Unwritten
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.testing import PlainMessage
from tests.simulation.oracles.verdict import RuleBroken

Place = tuple[TopicPartition, int]
REFUSED_OF = 11
"""One of this many offsets has a record that the broker never accepts."""


def is_refused(offset: int) -> bool:
    """Whether the broker refuses every record of this message."""
    return offset % REFUSED_OF == REFUSED_OF // 2


class Broker:
    """``written`` and ``letters`` count by message. Offsets are (offset, metadata, leader epoch)."""

    def __init__(self, random: Random, tps: Sequence[TopicPartition], metadata_limit_bytes: int) -> None:
        self.logs: dict[TopicPartition, list[bytes | None]] = {tp: [] for tp in tps}
        self.offsets: dict[TopicPartition, tuple[int, str]] = dict.fromkeys(tps, (0, ""))
        self.owners: dict[TopicPartition, str | None] = dict.fromkeys(tps)
        self.written: Counter[Place] = Counter()
        self.letters: Counter[Place] = Counter()
        self.commits = 0
        self._metadata_limit_bytes = metadata_limit_bytes
        self._random = random
        self._latest: dict[tuple[TopicPartition, bytes], int] = {}

    def message(self, tp: TopicPartition, offset: int) -> PlainMessage:
        return PlainMessage(tp.topic, tp.partition, offset, self.logs[tp][offset], b"")

    def refusals(self, snapshots: Sequence[CommitSnapshot]) -> list[Refusal]:
        """The refused records of a transaction: one bad record, and by chance others of its batch."""
        written = [entry for snapshot in snapshots for entry in snapshot.entries if entry.records]
        bad = [at for at, entry in enumerate(written) if is_refused(entry.item.offset)]
        if not bad:
            return []
        if written[bad[0]].item.offset // REFUSED_OF % 3 == 0:  # The client finds that out by itself.
            return [self._refusal(written[bad[0]], is_certain=True)]
        low, high = self._random.randint(0, bad[0]), self._random.randint(bad[0], len(written) - 1)
        return [self._refusal(entry, is_certain=False) for entry in written[low : high + 1]]

    def too_large(self, snapshots: Sequence[CommitSnapshot]) -> bool:
        return any(len(snapshot.metadata) > self._metadata_limit_bytes for snapshot in snapshots)

    def commit(self, name: str, snapshots: Sequence[CommitSnapshot]) -> None:
        """All of it, together."""
        for snapshot in snapshots:
            if self.owners[snapshot.tp] != name:
                raise RuleBroken("33", f"{name} writes for {snapshot.tp}, which is {self.owners[snapshot.tp]}'s")
            self.offsets[snapshot.tp] = (snapshot.offset, snapshot.metadata)
            for entry in snapshot.entries:
                self._write(snapshot.tp, entry)
        self.commits += 1

    def _write(self, tp: TopicPartition, entry: Unwritten) -> None:
        offset, key = entry.item.offset, entry.item.key
        place = tp, offset
        if entry.letter is not None:
            self.letters[place] += 1
        elif entry.records:
            if is_refused(offset):
                raise RuleBroken("36", f"the refused record of {entry.item} was written")
            self.written[place] += 1
            self._judge_order(place, key)
        if self.written[place] + self.letters[place] > 1:
            raise RuleBroken("exactly once", f"what became of {entry.item} was written twice")

    def _judge_order(self, place: Place, key: bytes | None) -> None:
        tp, offset = place
        if key is None:
            return
        before = self._latest.get((tp, key), -1)
        if offset < before:
            raise RuleBroken("13", f"the record of {tp}-{offset} is written after that of {before}, of one key")
        self._latest[tp, key] = offset

    def _refusal(self, entry: Unwritten, *, is_certain: bool) -> Refusal:
        return Refusal(entry, "out", "INVALID_RECORD", "refused", is_certain)
