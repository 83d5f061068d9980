"""Rules 7 and 8: revoked partitions, and epochs that fence late results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.dto import WorkItem
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.shadow import Shadow
from tests.simulation.topic_log import Record
from tests.simulation.truth import Run


def rule_7_nothing_starts_while_revoking(shadow: Shadow | None, item: WorkItem) -> None:
    if shadow is not None and shadow.is_revoking:
        raise RuleBroken("7", f"{item} starts while its partition is being revoked")


def rule_7_running_work_gets_the_grace(waited_seconds: float, grace_seconds: float, running: Iterable[Run]) -> None:
    for run in running:
        if waited_seconds < grace_seconds:
            raise RuleBroken("7", f"{run} was given up after {waited_seconds:.3f} s of {grace_seconds} s")
        if not run.is_marked:
            raise RuleBroken("7", f"{run} was given up without being cancelled")


def rule_7_waits_only_for_work_and_letters(is_waiting: bool, unfinished: int) -> None:
    if is_waiting and not unfinished:
        raise RuleBroken("7", "a revoke waits although nothing of its partitions runs or waits for its dead letter")


def rule_7_lost_commits_nothing(snapshots: Sequence[CommitSnapshot]) -> None:
    if snapshots:
        raise RuleBroken("7", f"a lost partition is committed: {snapshots}")


def rule_7_finished_work_is_handed_over(unknown: Sequence[Record], tainted: str | None) -> None:
    if unknown and tainted is None:
        raise RuleBroken("7", f"{unknown[0]} is done and was handed over in order, and the new owner is not told")


def rule_8_epochs_ascend(epoch: int, latest: int) -> None:
    if epoch <= latest:
        raise RuleBroken("8", f"epoch {epoch} follows epoch {latest}")
