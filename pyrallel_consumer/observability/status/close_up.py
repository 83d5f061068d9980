"""A close look at partitions: their gap windows, and the keys that have been in them for longest.

Made for operators while somebody looks, from a bounded number of unfinished offsets. It reads the work and changes
nothing. It contains no payload, and only fingerprints of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pyrallel_consumer.control_plane.partitions.queue_key import WHOLE_PARTITION
from pyrallel_consumer.observability.status.gap_window import GapWindow, OffsetState, gap_window

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import TopicPartition, WorkItem
    from pyrallel_consumer.observability.status.read_times import ReadTimes

MOST_KEYS: Final = 5
"""How many keys of one partition are shown: those of its lowest unfinished offsets, which were read first."""
MOST_KEYS_IN_ALL: Final = 12
MOST_PARTITIONS: Final = 48
"""Partitions in one close-up."""
MOST_OFFSETS: Final = 6_000
"""How many unfinished offsets of all partitions one close-up reads: about two milliseconds of the loop's time."""
FINGERPRINT_BYTES: Final = 4


class Order(StrEnum):
    """The order that a message keeps: within its key, within its partition, or none."""

    KEY = "key"
    PARTITION = "partition"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The engine's items: running ones with attempt and start time (None: unknown), those that wait for another
    attempt, and those that should have ended and have not.
    """

    running: Mapping[WorkItem, tuple[int, float | None]]
    failing: Collection[WorkItem]
    stuck: Collection[WorkItem]


@dataclass(frozen=True, slots=True)
class KeyCloseUp:
    """A virtual partition, by its lowest unfinished offset. ``fingerprint`` is of the key, None without one.

    ``read_seconds`` is about how long ago that offset was read, ``running_seconds`` how long its attempt has run, None
    if unknown or if nothing runs. ``behind`` messages wait for it.
    """

    tp: TopicPartition
    offset: int
    state: OffsetState
    order: Order
    fingerprint: str | None
    attempt: int | None
    running_seconds: float | None
    read_seconds: float
    behind: int


@dataclass(frozen=True, slots=True)
class PartitionCloseUp:
    """One partition's gap window, and its slowest keys, the lowest offset first."""

    tp: TopicPartition
    epoch: int
    window: GapWindow
    keys: tuple[KeyCloseUp, ...]


@dataclass(frozen=True, slots=True)
class CloseUp:
    """The partitions at ``taken_at``, by name, and the slowest keys of all; ``left_out`` partitions are missing."""

    taken_at: float
    partitions: tuple[PartitionCloseUp, ...]
    keys: tuple[KeyCloseUp, ...]
    left_out: int


def fingerprint(key: bytes, secret: bytes) -> str:
    """Eight digits that stand for ``key``: the same for one ``secret``, of at most 64 bytes.

    Without the secret, somebody could find a key by trying candidates, and the key is the user's data.
    """
    return blake2b(key, digest_size=FINGERPRINT_BYTES, key=secret).hexdigest()


def close_up(
    work: PartitionWork, under_way: UnderWay, read_times: ReadTimes, now: float, most_offsets: int, *, secret: bytes
) -> PartitionCloseUp:
    """Look at the ``most_offsets`` lowest unfinished offsets of ``work``, at least 1."""
    unfinished = work.tracker.unfinished
    offsets, items = list(islice(unfinished, most_offsets + 1)), list(islice(unfinished.values(), most_offsets))
    top = offsets.pop() if len(offsets) > most_offsets else work.tracker.next_offset
    states = _states(offsets, items, work, under_way)
    window = gap_window(
        min(work.commits.committed_offset, work.tracker.committable_offset),
        top,
        zip(offsets, states, strict=True),
        unseen=len(unfinished) - len(offsets),
    )
    heads: dict[object, tuple[WorkItem, OffsetState]] = {}
    for item, state in zip(items, states, strict=True):
        heads.setdefault(item.origin if item.origin.is_ordered else item, (item, state))
        if len(heads) == MOST_KEYS:
            break
    keys = tuple(
        _key(item, state, under_way, read_times.read_at((work.tp, work.epoch), item.offset), now, secret=secret)
        for item, state in heads.values()
    )
    return PartitionCloseUp(work.tp, work.epoch, window, keys)


def close_up_of_all(
    works: Sequence[PartitionWork],
    under_way: UnderWay,
    read_times: ReadTimes,
    now: float,
    most_offsets: int = MOST_OFFSETS,
    *,
    secret: bytes,
) -> CloseUp:
    """Look at the first of ``works``, at most ``MOST_PARTITIONS``, in the order of their importance.

    ``secret`` is for fingerprints of keys.

    Each partition may use an equal part of the ``most_offsets``; fuller partitions get the part that others do not
    need.
    """
    pictures = []
    budget = most_offsets
    chosen = sorted(works[:MOST_PARTITIONS], key=lambda work: len(work.tracker.unfinished))
    for at, work in enumerate(chosen):
        share = max(1, budget // (len(chosen) - at))
        pictures.append(close_up(work, under_way, read_times, now, share, secret=secret))
        budget -= min(share, len(work.tracker.unfinished))
    keys = sorted(
        (key for picture in pictures for key in picture.keys),
        key=lambda key: key.read_seconds,
        reverse=True,
    )
    pictures.sort(key=lambda picture: picture.tp)
    return CloseUp(now, tuple(pictures), tuple(keys[:MOST_KEYS_IN_ALL]), len(works) - len(chosen))


def _states(offsets: list[int], items: list[WorkItem], work: PartitionWork, under_way: UnderWay) -> list[OffsetState]:
    """The state of each item, in one loop: this is the main cost of a look, and most of a long backlog is queued."""
    held, is_queued, is_held = work.held, OffsetState.QUEUED, OffsetState.HELD
    states = []
    for offset, item in zip(offsets, items, strict=True):
        queue: Any = item.origin  # A virtual partition: more than the protocol says.
        if queue.running is not item and queue.is_ordered:
            states.append(is_held if offset in held else is_queued)
        else:
            states.append(is_held if offset in held else _state_of_started(item, under_way))
    return states


def _state_of_started(item: WorkItem, under_way: UnderWay) -> OffsetState:
    """The state of the head of a key, or of an item without order: only the engine knows whether it is started."""
    if item in under_way.stuck:
        return OffsetState.STUCK
    if item in under_way.failing:
        return OffsetState.FAILING
    return OffsetState.RUNNING if item.origin.is_ordered or item in under_way.running else OffsetState.QUEUED


def _key(
    item: WorkItem, state: OffsetState, under_way: UnderWay, read_at: float | None, now: float, *, secret: bytes
) -> KeyCloseUp:
    queue: Any = item.origin  # As above.
    attempt, began_at = under_way.running.get(item, (None, None))
    running_seconds = None if began_at is None else now - began_at
    read_seconds = 0.0 if read_at is None else now - read_at
    return KeyCloseUp(
        tp=item.tp,
        offset=item.offset,
        state=state,
        order=_order(queue),
        fingerprint=None if item.key is None else fingerprint(item.key, secret),
        attempt=attempt,
        running_seconds=running_seconds,
        read_seconds=max(read_seconds, running_seconds or 0.0),
        behind=len(queue.waiting or ()),
    )


def _order(queue: Any) -> Order:
    if not queue.is_ordered:
        return Order.NONE
    return Order.PARTITION if queue.key is WHOLE_PARTITION else Order.KEY
