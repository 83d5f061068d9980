"""Seeds of the simulation of exactly once keep every rule, and bugs planted into the real parts are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer.control_plane.output import transaction_plan
from pyrallel_consumer.control_plane.output.refusal_search import RefusalSearch
from pyrallel_consumer.control_plane.output.transaction_plan import Floor
from pyrallel_consumer.control_plane.output.writing import Writing
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.execution_plane.batches.book import BatchBook
from pyrallel_consumer.record import BatchRecords
from pyrallel_consumer.runtime.outcomes.refused_records import RefusedRecords
from pyrallel_consumer.runtime.outcomes.transaction_output import TransactionOutput
from tests.simulation.exactly_once import member as member_module
from tests.simulation.exactly_once.member import Member
from tests.simulation.exactly_once.world import World

SEEDS = 60
SEEDS_ENOUGH = 200

Plant = Callable[[pytest.MonkeyPatch], None]
PLANTED: list[Plant] = []


def planted(plant: Plant) -> Plant:
    PLANTED.append(plant)
    return plant


def around(patch: pytest.MonkeyPatch, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **kwargs: replacement(original, *args, **kwargs))


@planted
def a_later_map_leaves_out_what_was_written(patch: pytest.MonkeyPatch) -> None:
    around(
        patch,
        transaction_plan,
        "_planned",
        lambda planned, tracker, taken, floor, *rest: planned(tracker, taken, Floor(0, None), *rest),
    )


@planted
def all_that_is_done_is_written_whether_the_map_has_room_or_not(patch: pytest.MonkeyPatch) -> None:
    from pyrallel_consumer.control_plane.output import writing  # noqa: PLC0415 -- the module that calls it

    def planned(plan: Any, tracker: Any, candidates: Any, *args: Any, **options: Any) -> Any:
        made = plan(tracker, candidates, *args, **options)
        return None if made is None else made._replace(taken=len(candidates))

    around(patch, writing, "plan", planned)


@planted
def an_unknown_outcome_is_taken_for_an_abort(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(member_module, "resolved", lambda sent, _: dict.fromkeys([each.tp for each in sent], "_NOT_WRITTEN"))


@planted
def an_unknown_outcome_is_taken_for_a_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(member_module, "resolved", lambda sent, _: dict.fromkeys([each.tp for each in sent]))


@planted
def the_last_transaction_does_not_wait_for_the_one_under_way(patch: pytest.MonkeyPatch) -> None:
    around(patch, WorkManager, "end", lambda end, manager, partitions, **_: end(manager, partitions, is_lost=False))


@planted
def an_aborted_transaction_is_not_written_again(patch: pytest.MonkeyPatch) -> None:
    def take(take_outcome: Any, output: TransactionOutput, answered: Any) -> None:
        take_outcome(output, answered)
        for snapshot in answered.snapshots:
            if answered.errors.get(snapshot.tp) is not None:
                for entry in snapshot.entries:
                    if entry.letter is None:
                        output._manager.outbox.written(entry.item)  # noqa: SLF001 -- the bug to plant

    around(patch, TransactionOutput, "take_outcome", take)


@planted
def one_refused_record_is_written_again_and_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RefusalSearch, "aborted", lambda *_: None)


@planted
def the_first_of_a_refused_batch_is_blamed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RefusalSearch, "aborted", lambda _, __, refused: refused[0])
    patch.setattr(RefusedRecords, "take", lambda self, owner, *_: self._manager.outbox.written(owner.item))


@planted
def what_is_lost_is_written_all_the_same(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Member, "_disown", lambda *_: None)
    around(patch, Member, "produce", _whoever_owns_it)


@planted
def a_transaction_finishes_what_came_after_it_was_made(patch: pytest.MonkeyPatch) -> None:
    def confirm(real: Any, writing: Writing, work: Any, snapshot: Any) -> Any:
        letters = real(writing, work, snapshot)
        for unwritten in list(work.unwritten.values()):
            work.complete(unwritten.item)
        return letters

    around(patch, Writing, "confirm", confirm)


@planted
def records_of_a_batch_are_those_of_another_of_its_messages(patch: pytest.MonkeyPatch) -> None:
    def returned(real: Any, book: BatchBook, batch: Any, told: BatchRecords, now: float) -> None:
        moved = {(place + 1) % len(batch): records for place, records in told.by_place.items()}
        real(book, batch, told._replace(by_place=moved), now)

    around(patch, BatchBook, "returned", returned)


@planted
def what_a_batch_returned_for_messages_behind_a_failure_is_kept(patch: pytest.MonkeyPatch) -> None:
    def returned(real: Any, book: BatchBook, batch: Any, told: BatchRecords, now: float) -> None:
        real(book, batch, told, now)
        for place, records in told.by_place.items():
            book.channel.returned.setdefault(batch.roots[place], (1, records))

    around(patch, BatchBook, "returned", returned)


def _whoever_owns_it(produce: Any, member: Member, *, is_calm: bool = False) -> None:
    broker = member._broker  # noqa: SLF001 -- the bug to plant
    if member.under_way is None or member.outcome is not None:
        return
    before = dict(broker.owners)
    for snapshot in member.under_way.snapshots:
        broker.owners[snapshot.tp] = member.name
    produce(member, is_calm=is_calm)
    broker.owners.update(before)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_seed_writes_everything_once_in_the_order_of_keys(seed: int) -> None:
    World(seed).run()


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    for seed in range(SEEDS_ENOUGH):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            try:
                World(seed).run()
            except Exception:  # noqa: BLE001 -- whatever breaks first
                return
    pytest.fail(f"{plant.__name__} went unnoticed through {SEEDS_ENOUGH} seeds")
