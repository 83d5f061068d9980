"""One partition's part of the next transaction: its offset, its map, and the finished messages in them.

A message's records are written in the same transaction whose offset and map say that the message is finished. So they
are written once. Messages for which the map has no room wait for a later transaction. A written message stays in the
map: if a later map left it out, the message would run again and its records would be written again. So a map never ends
below its ``Floor``, and a message waits if taking it would push the map below that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pyrallel_consumer.control_plane.offsets.commit_encoder import METADATA_LIMIT_BYTES, encode_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.control_plane.offsets.offset_tracker import OffsetTracker
    from pyrallel_consumer.dto import TopicPartition

SLACK_BYTES: Final = 200
"""Room that a map leaves when it takes in more messages: the ones that must stay may cost a little more from another
offset."""


class Floor(NamedTuple):
    """All finished messages below ``top`` are written, and every later map must contain them.

    ``leader_epoch`` is Kafka's, of the last record below ``top``.
    """

    top: int
    leader_epoch: int | None


class Plan(NamedTuple):
    """Commit ``offset`` with ``metadata``. The ``taken`` lowest candidates are finished in it."""

    offset: int
    metadata: str
    taken: int
    floor: Floor


def plan(
    tracker: OffsetTracker,
    candidates: Sequence[int],
    floor: Floor,
    tp: TopicPartition,
    *,
    limit_bytes: int = METADATA_LIMIT_BYTES,
    with_map: bool = True,
) -> Plan | None:
    """The transaction's part for ``tp``; None if the written messages do not fit into a map now: then all wait.

    ``candidates`` are offsets, ascending, of messages that are done and not written; the tracker still has them as
    unfinished. Without ``with_map`` only candidates that need no map are taken.
    """
    at_the_front = _at_the_front(tracker, candidates)
    most = len(candidates) if with_map else at_the_front
    roomy = max(0, limit_bytes - SLACK_BYTES)
    found = _planned(tracker, candidates[:most], floor, tp, roomy)
    if found is not None:
        return found
    fitting, too_many = 0, most
    best: Plan | None = None
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        tried = _planned(tracker, candidates[:middle], floor, tp, roomy)
        if tried is None:
            too_many = middle
        else:
            fitting, best = middle, tried
    if best is not None and best.taken >= at_the_front:
        return best
    # A message that only moves the offset never makes the map larger than the broker's map, so it is always included.
    return _planned(tracker, candidates[:at_the_front], floor, tp, METADATA_LIMIT_BYTES)


def _planned(
    tracker: OffsetTracker, taken: Sequence[int], floor: Floor, tp: TopicPartition, limit_bytes: int
) -> Plan | None:
    top, leader_epoch = floor
    if taken and taken[-1] >= top:
        top, leader_epoch = taken[-1] + 1, tracker.unfinished[taken[-1]].message.leader_epoch()
    offset_map = tracker.map_as_if(taken, top, leader_epoch)
    if offset_map is None:
        return None
    metadata = encode_whole(offset_map, tp, limit_bytes)
    return None if metadata is None else Plan(offset_map.base, metadata, len(taken), Floor(top, leader_epoch))


def _at_the_front(tracker: OffsetTracker, candidates: Sequence[int]) -> int:
    """How many candidates have no unfinished offset before them."""
    for count, (unfinished, candidate) in enumerate(zip(tracker.unfinished, candidates, strict=False)):
        if unfinished != candidate:
            return count
    return min(len(candidates), len(tracker.unfinished))
