"""Carries out ``inspect offsets reset``: checks that the group has stopped, prints and commits the new offsets."""

from __future__ import annotations

from collections.abc import Collection

from pyrallel_consumer.cli.command import EXIT_OK
from pyrallel_consumer.cli.inspect.reset_plan import Move, Partition, Target, document_of, moves_to, rows_of
from pyrallel_consumer.cli.table import plain_table
from pyrallel_consumer.cli.terminal import say, say_json
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import ConfigurationError, UnknownTopicError
from pyrallel_consumer.ingress.admin.group_offsets import GroupOffsets


def run_reset(
    config: KafkaConfig,
    group: str,
    topic: str,
    target: Target,
    partitions: Collection[int],
    *,
    is_dry_run: bool,
    as_json: bool,
) -> int:
    """Move the group's offsets of these partitions, or of all if none is named. Raises a PyrallelConsumerError."""
    with GroupOffsets(config, group) as offsets:
        tps = _places(offsets, topic, partitions)
        offsets.check_stopped()
        moves = moves_to(target, _told(offsets, tps, target))
        if not is_dry_run:
            offsets.write({move.partition.tp: move.offset for move in moves})
    if as_json:
        say_json(document_of(group, topic, moves, is_dry_run=is_dry_run))
    else:
        _say(group, topic, moves, is_dry_run=is_dry_run)
    return EXIT_OK


def _places(offsets: GroupOffsets, topic: str, partitions: Collection[int]) -> list[TopicPartition]:
    count = offsets.topics().get(topic)
    if count is None:
        raise UnknownTopicError(f"there is no topic {topic!r}, or it may not be seen", code="UNKNOWN_TOPIC_OR_PART")
    missing = sorted(set(partitions) - set(range(count)))
    if missing:
        raise ConfigurationError(f"--partition {missing[0]}: topic {topic!r} has partitions 0 to {count - 1}")
    return [TopicPartition(topic, number) for number in sorted(partitions or range(count))]


def _told(offsets: GroupOffsets, tps: list[TopicPartition], target: Target) -> list[Partition]:
    at_time = {} if target.timestamp_ms is None else offsets.first_at(tps, target.timestamp_ms)
    found = []
    for tp in tps:
        noted = offsets.noted(tp)
        low, high = offsets.ends(tp)
        found.append(Partition(tp, low, high, noted.offset, bool(noted.metadata), at_time.get(tp)))
    return found


def _say(group: str, topic: str, moves: list[Move], *, is_dry_run: bool) -> None:
    said = "would be moved (--dry-run: nothing was)" if is_dry_run else "are moved"
    say(f"group {group}, topic {topic}: the offsets of {len(moves)} partitions {said}")
    say("\n".join(plain_table(rows_of(moves), ())))
    cut = [str(move.partition.tp.partition) for move in moves if move.is_cut]
    if cut:
        say(f"the logs of these partitions do not hold the offset, so it is the nearer end: {', '.join(cut)}")
    if any(move.partition.has_map for move in moves):
        say("the maps of what is finished above the offsets are dropped: all from the new offsets on runs")
