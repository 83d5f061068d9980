"""Rules of batches: keys apart, order within and after a batch, no charge for another's fault, slots."""

from __future__ import annotations

from collections.abc import Container, Iterable

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.batches.batch import Batch
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.shadow import Shadow
from tests.simulation.topic_log import Record
from tests.simulation.truth import Run, Truth


def no_two_calls_share_a_key(batch: Batch, others: Iterable[Batch]) -> None:
    keys = {root.origin for root in batch.roots if root.origin.is_ordered}
    for other in others:
        if keys & {root.origin for root in other.roots}:
            raise RuleBroken("batches", f"{batch!r} starts while {other!r} runs, and they share a key")


def order_holds_inside(shadow: Shadow, run: Run, before_in_batch: Container[Record], truth: Truth) -> None:
    """Earlier messages of the key are done, or stand before it in the same batch."""
    for offset in shadow.before(run.record):
        record = shadow.unfinished[offset]
        if record not in truth.done and record not in before_in_batch:
            raise RuleBroken("batches", f"{run} begins, and offset {offset} of its key is not done")


def only_its_own_failure_is_charged(item: WorkItem, failed_alone: Container[WorkItem]) -> None:
    if item not in failed_alone:
        raise RuleBroken("batches", f"{item} is charged, and never failed alone or by name")


def slots_hold(awake: int, held: int, capacity: int, slots: int) -> None:
    if awake > slots or capacity != max(0, slots - held):
        raise RuleBroken("15", f"{awake} messages are awake, {held} hold slots, {capacity} free of {slots} slots")
