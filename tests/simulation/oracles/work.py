"""Rules 9, 13 to 15, 18, 27, 28: order, overlap, completions, slots, attempts, and the number of repetitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm
from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.dto import TopicPartition, WorkItem
from pyrallel_consumer.execution_plane.attempts import Verdict
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.scenario import Scenario
from tests.simulation.scene import Standstill
from tests.simulation.shadow import Shadow
from tests.simulation.truth import Run, Truth

CLOCK_SLACK_SECONDS = 0.05
"""The clock creeps while code runs, between a look at the time and the start that follows from it."""


def rule_13_heads_start_first(shadow: Shadow | None, item: WorkItem, run_length: int = 1) -> None:
    """An engine that keeps order may hold ``run_length`` items of a key, and none behind an item that cannot run."""
    if shadow is None or item.offset not in shadow.unfinished:
        raise RuleBroken("13", f"{item} starts and is not an unfinished message of its partition")
    if shadow.unfinished[item.offset] is not item.message:
        raise RuleBroken("13", f"{item} starts with a record that was replaced")
    before = shadow.before(shadow.unfinished[item.offset])
    for offset in before:
        if offset not in shadow.in_flight or run_length == 1:
            raise RuleBroken("13", f"{item} overtakes offset {offset} of its key")
    if any(offset in shadow.in_flight for offset in shadow.behind(shadow.unfinished[item.offset])):
        raise RuleBroken("13", f"{item} starts while later ones of its key are with the engine")
    if len(before) >= run_length:
        raise RuleBroken("13", f"{item} is sent ahead of {len(before)} of its key that run, where {run_length} may")


def rule_13_nothing_begins_before_those_before_it_are_done(shadow: Shadow, run: Run, truth: Truth) -> None:
    for offset in shadow.before(run.record):
        if shadow.unfinished[offset] not in truth.done:
            raise RuleBroken("13", f"{run} begins, and offset {offset} of its key is not done")


def rules_9_and_13_keys_do_not_overlap(run: Run, others: Iterable[Run], scenario: Scenario) -> None:
    """Within one consumer runs never overlap. For several consumers rule 7 applies to the revoke."""
    queue = scenario.lane_of(run.record.key())
    for other in others:
        is_same_key = other.record.tp == run.record.tp and scenario.lane_of(other.record.key()) == queue
        if queue is not None and is_same_key and other.consumer == run.consumer:
            raise RuleBroken("13" if other.epoch == run.epoch else "9", f"{run} starts while {other} runs")


def rule_28_what_returned_is_done(run: Run, verdict: Verdict | None) -> None:
    if verdict is not None:
        raise RuleBroken("28", f"{run} returned, and what came of it is {verdict}")


def the_lowest_offsets_go_first(tp: TopicPartition, begun: Sequence[int], left: Sequence[int]) -> None:
    """If more messages of a partition are ready than may start, those that hold its commit back start first."""
    if begun and left and max(begun) > min(left):
        raise RuleBroken("order", f"offsets {begun} of {tp} start, and {min(left)} is left")


def rule_14_submitted_once(item: WorkItem, open_items: Iterable[WorkItem]) -> None:
    if any(item is other for other in open_items):
        raise RuleBroken("14", f"{item} was submitted twice")


def rule_14_completed_once(item: WorkItem, was_open: bool) -> None:
    if not was_open:
        raise RuleBroken("14", f"{item} completed without being submitted, or twice")


def rules_8_and_14_books_agree(work: PartitionWork, shadow: Shadow) -> None:
    """Load, order and commits depend on live structures, which nothing of an ended assignment may change."""
    theirs: tuple[object, ...] = (
        work.epoch,
        work.tracker.unfinished.keys(),
        work.tracker.committable_offset,
        work.in_flight,
        work.held.keys(),
        work.queued,
        work.load.messages,
    )
    ours: tuple[object, ...] = (
        shadow.epoch,
        shadow.unfinished.keys(),
        shadow.committable_offset,
        len(shadow.in_flight),
        shadow.held.keys(),
        len(shadow.unfinished) - len(shadow.in_flight) - len(shadow.held),
        len(shadow.unfinished),
    )
    if theirs != ours:
        names = ("epoch", "unfinished", "committable", "in flight", "held", "queued", "load")
        wrong = [
            f"{name} {their} for {our}" for name, their, our in zip(names, theirs, ours, strict=True) if their != our
        ]
        raise RuleBroken("8/14", f"{shadow.tp} epoch {shadow.epoch} has {', '.join(wrong)}")


def rule_15_slots_hold(running: int, due: int, capacity: int, slots: int) -> None:
    if running > slots or running + due > slots or capacity != slots - running - due:
        raise RuleBroken("15", f"{running} run, {due} due, {capacity} free of {slots} slots")


def rule_15_attempts_are_counted(number: int, expected: int, most: int) -> None:
    if number != expected or number > most:
        raise RuleBroken("15", f"attempt {number} of {most} starts where {expected} was next")


def rule_18_letters_settle_by_their_acknowledgement(item: WorkItem, acknowledged: list[WorkItem]) -> None:
    if not any(item is other for other in acknowledged):
        raise RuleBroken("18", f"{item} is settled and the broker has not acknowledged its letter")


def rule_27_a_letter_shrinks_for_its_own_refusals(letter: Letter, *, is_refused_alone: bool) -> None:
    """A letter that is refused in a batch loses nothing: another letter of the batch may be the reason."""
    if letter.form is not LetterForm.FULL and not is_refused_alone:
        raise RuleBroken("27", f"{letter!r} carries less than its message, and was never refused alone")


def rule_23_nothing_begins_after_a_gap_until_a_commit_is_confirmed(
    run: Run, now: float, standstill: Standstill | None, gap_seconds: float
) -> None:
    """A consumer that lost its session begins nothing, nor do the processes of a frozen consumer."""
    if standstill is None or now < standstill.began_at + gap_seconds + CLOCK_SLACK_SECONDS:
        return
    if now < standstill.ends_at:
        raise RuleBroken("23", f"{run} begins while its consumer stands still since {standstill.began_at:.3f}")
    raise RuleBroken("23", f"{run} begins after {standstill}, and no commit was confirmed since")


def repeats_only_what_nobody_was_told(run: Run, truth: Truth, *, is_current: bool) -> None:
    """As few duplicates as possible: only what was not committed when an assignment ended without order.

    A consumer that has lost the partition and does not know it yet goes on: its run is not current.
    """
    if run.record in truth.done and run.record not in truth.may_repeat and is_current:
        raise RuleBroken("1-7", f"{run} runs again and nothing went wrong that would explain it")
