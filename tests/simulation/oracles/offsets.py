"""Rules 1 to 6: which offsets are committed, how far, by whom, and with which metadata."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pyrallel_consumer.control_plane.events import Commit, CommitSnapshot
from pyrallel_consumer.control_plane.offsets.commit_encoder import decode
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.start_offset import Start
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.shadow import Shadow
from tests.simulation.topic_log import Record, TopicLog
from tests.simulation.truth import Truth, covers


def rule_1_commits_stop_at_the_lowest_unfinished(shadow: Shadow, snapshot: CommitSnapshot) -> None:
    if snapshot.offset > shadow.committable_offset:
        raise RuleBroken("1", f"{snapshot} passes unfinished offset {shadow.committable_offset}")


def rule_1_commits_never_go_back(landed: CommitSnapshot, before: CommitSnapshot | None) -> None:
    if before is not None and before.epoch == landed.epoch and landed.offset < before.offset:
        raise RuleBroken("1", f"{landed} landed after {before}, within one epoch")


def rule_2_holes_stall_nothing(shadow: Shadow, snapshot: CommitSnapshot) -> None:
    if snapshot.offset < shadow.committable_offset:
        raise RuleBroken("2", f"{snapshot} stays below committable offset {shadow.committable_offset}")


def rule_4_claims_only_what_is_done(shadow: Shadow, snapshot: CommitSnapshot, truth: Truth, log: TopicLog) -> None:
    claims = decode(snapshot.metadata, snapshot.tp, snapshot.offset)
    for record in [*log.records, *shadow.delivered.values()]:
        offset = record.offset()
        told_under = snapshot.leader_epoch if offset < claims.base else claims.leader_epoch
        if record is not shadow.delivered.get(offset) and _is_newer(record, told_under):
            continue  # The log was cut, nobody here knows it yet, and whoever reads the commit will notice.
        if covers(claims, offset) and not truth.is_done(record):
            raise RuleBroken("4", f"{snapshot} says that {record} is finished, and it never was")


def rule_22_map_carries_the_leader_epoch_of_its_top(shadow: Shadow, snapshot: CommitSnapshot) -> None:
    claims = decode(snapshot.metadata, snapshot.tp, snapshot.offset)
    if not claims.is_empty and claims.leader_epoch != shadow.map_leader_epoch:
        raise RuleBroken("22", f"{snapshot} tells of leader epoch {claims.leader_epoch}, not {shadow.map_leader_epoch}")


def _is_newer(record: Record, leader_epoch: int | None) -> bool:
    return leader_epoch is not None and (record.leader_epoch() or 0) > leader_epoch


def rule_4_map_tells_all_that_is_done(shadow: Shadow, snapshot: CommitSnapshot) -> None:
    claims = decode(snapshot.metadata, snapshot.tp, snapshot.offset)
    for offset in shadow.delivered:
        if offset not in shadow.unfinished and not covers(claims, offset):
            raise RuleBroken("4", f"{snapshot} does not tell that {offset} is finished")
    restored = shadow.restored
    if restored is not None:
        for offset in range(shadow.next_offset, restored.top):
            if covers(restored, offset) and not covers(claims, offset):
                raise RuleBroken("4", f"{snapshot} lost {offset} of the restored map")


def rule_4_leader_epoch_travels_along(shadow: Shadow, snapshot: CommitSnapshot) -> None:
    if snapshot.leader_epoch not in shadow.leader_epochs:
        raise RuleBroken("4", f"{snapshot} has no leader epoch of what was delivered ({shadow.leader_epochs})")
    below = [record.leader_epoch() or 0 for offset, record in shadow.delivered.items() if offset < snapshot.offset]
    if below and (snapshot.leader_epoch is None or snapshot.leader_epoch < max(below)):
        raise RuleBroken("4", f"{snapshot} has an older leader epoch than what was delivered below it ({max(below)})")


def rule_4_start_is_what_was_committed(start: Start, committed_offset: int | None, resolved_offset: int) -> None:
    expected = resolved_offset if committed_offset is None else committed_offset
    if start.offset != expected or start.restored.base != expected:
        raise RuleBroken("4", f"{start} does not begin at {expected}")


def rule_4_start_is_handed_over(tp: TopicPartition, committed_offset: int | None) -> None:
    if committed_offset is None:
        raise RuleBroken("4", f"{tp} was handed over in order, and the group still has no offset for it")


def rule_5_one_commit_at_a_time(unanswered: Sequence[Commit], consumer: str) -> None:
    if len(unanswered) > 1:
        raise RuleBroken("5", f"{consumer} has {len(unanswered)} commits under way: {unanswered}")


def rule_5_committed_means_confirmed(shadow: Shadow, stored_offset: int | None) -> None:
    if stored_offset != shadow.committable_offset:
        expected = shadow.committable_offset
        raise RuleBroken("5", f"{shadow.tp} is taken for committed at {expected}, and the broker has {stored_offset}")


def rule_5_refused_maps_shrink(snapshot: CommitSnapshot, limit_bytes: int) -> None:
    if len(snapshot.metadata) > limit_bytes:
        raise RuleBroken("5", f"{snapshot} has a map of a size that the broker refuses, above {limit_bytes} bytes")


def rule_6_idle_commits_nothing_new(snapshot: CommitSnapshot, confirmed: CommitSnapshot | None) -> None:
    if confirmed is None or confirmed.epoch != snapshot.epoch:
        return
    if (snapshot.offset, snapshot.metadata) == (confirmed.offset, confirmed.metadata):
        raise RuleBroken("6", f"{snapshot} was confirmed already")


def rule_23_every_partition_is_committed_again(
    snapshots: Sequence[CommitSnapshot], assigned: Collection[TopicPartition]
) -> None:
    """After a gap in time the answer to any commit says whether this consumer is still a member."""
    if {snapshot.tp for snapshot in snapshots} != set(assigned):
        raise RuleBroken("23", f"of {set(assigned)} only {[str(s) for s in snapshots]} is committed after a gap")


def rule_6_commits_only_what_is_assigned(snapshot: CommitSnapshot, current_epoch: int | None) -> None:
    if snapshot.epoch != current_epoch:
        raise RuleBroken("6", f"{snapshot} is sent while epoch {current_epoch} is current")


def rule_6_lands_only_from_the_owner(tp: TopicPartition, owner: str | None, sender: str) -> None:
    if owner != sender:
        raise RuleBroken("6", f"a commit of {sender} landed for {tp}, which is {owner}'s")
