"""Typical bugs in rebalances, order, retries and flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from pyrallel_consumer.control_plane.drain import Drain, DrainStep
from pyrallel_consumer.control_plane.events import LetterAnswer
from pyrallel_consumer.control_plane.failures import letter_queue
from pyrallel_consumer.control_plane.failures.failure_circuit import FailureCircuit
from pyrallel_consumer.control_plane.failures.letter import Letter
from pyrallel_consumer.control_plane.failures.letter_queue import LetterQueue
from pyrallel_consumer.control_plane.flow.backpressure import Backpressure
from pyrallel_consumer.control_plane.flow.fair_shares import FairShares
from pyrallel_consumer.control_plane.flow.rate_limit import RateLimit
from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.control_plane.partitions.ready_queue import ReadyQueue
from pyrallel_consumer.control_plane.partitions.run_queue import RunQueue
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted
from pyrallel_consumer.execution_plane.attempts import Attempts, RetryAt, Uncharged
from pyrallel_consumer.execution_plane.processes.parent.key_order import KeyOrder
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages
from tests.simulation.planting import around, planted

# Rebalances


@planted
def the_fence_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def succeed(manager: Any, items: Iterable[Any], now: float) -> None:
        for item in items:
            work = manager._works.get(item.tp)  # noqa: SLF001 -- the bug to plant
            if work is not None and item.offset in work.tracker.unfinished:
                work.finish(work.tracker.unfinished[item.offset], now)

    patch.setattr(WorkManager, "succeed", succeed)


@planted
def epochs_begin_anew_with_each_assignment(patch: pytest.MonkeyPatch) -> None:
    def assign(original: Callable[..., Any], assignments: Any, *args: Any) -> Any:
        assignments._epochs = 0  # noqa: SLF001 -- the bug to plant
        return original(assignments, *args)

    around(patch, Assignments, "assign", assign)


@planted
def starting_goes_on_while_revoking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WorkManager, "stop_dispatching", lambda manager, tps: None)


@planted
def running_work_gets_no_grace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Drain, "step", lambda drain, running, now: DrainStep.DONE)


@planted
def a_revoke_waits_for_nothing(patch: pytest.MonkeyPatch) -> None:
    def step(original: Callable[..., DrainStep], drain: Drain, running: int, now: float) -> DrainStep:
        return DrainStep.WAIT if now < drain.deadline else original(drain, running, now)

    around(patch, Drain, "step", step)


@planted
def a_lost_partition_is_committed(patch: pytest.MonkeyPatch) -> None:
    around(patch, WorkManager, "end", lambda original, manager, pairs, is_lost: original(manager, pairs, is_lost=False))


@planted
def a_key_forgets_its_old_attempt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PartitionWork, "_waits_for_predecessor", lambda work, queue: False)


# Work


@planted
def a_key_is_released_when_the_timeout_fires(patch: pytest.MonkeyPatch) -> None:
    def expired(original: Callable[..., Any], attempts: Any, now: float) -> Any:
        found = original(attempts, now)
        for attempt in found:
            attempts._judge(attempt, None, now)  # noqa: SLF001 -- the bug to plant
        return found

    around(patch, Attempts, "expired", expired)


@planted
def a_known_success_is_thrown_away(patch: pytest.MonkeyPatch) -> None:
    def ended_ok(original: Callable[..., Any], attempts: Attempts, root: Any, now: float) -> Any:
        attempt = attempts.running[root]
        original(attempts, root, now)
        return None if attempt.marked_at is None else Uncharged(attempt.number)

    around(patch, Attempts, "ended_ok", ended_ok)


@planted
def a_slot_is_given_back_twice(patch: pytest.MonkeyPatch) -> None:
    capacity = Attempts.capacity
    patch.setattr(Attempts, "capacity", property(lambda attempts: capacity.__get__(attempts) + attempts.waiting_count))


@planted
def a_waiting_retry_does_not_hold_its_key(patch: pytest.MonkeyPatch) -> None:
    def ended_failed(original: Callable[..., Any], attempts: Attempts, root: Any, *args: Any) -> Any:
        verdict = original(attempts, root, *args)
        if isinstance(verdict, RetryAt) and root.origin.waiting:
            root.origin.work.ready.arrived.append(root.origin.waiting.popleft())
        return verdict

    around(patch, Attempts, "ended_failed", ended_failed)


@planted
def a_failed_message_does_not_hold_its_key(patch: pytest.MonkeyPatch) -> None:
    def hold(original: Callable[..., None], work: PartitionWork, item: Any) -> None:
        original(work, item)
        if item.origin.waiting:
            work.ready.arrived.append(item.origin.waiting.popleft())

    around(patch, PartitionWork, "hold", hold)


@planted
def a_dead_letter_settles_before_its_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    def exhaust(original: Callable[..., Any], manager: WorkManager, item: Any, now: float) -> Any:
        outcome = original(manager, item, now)
        if outcome is OnExhausted.DLQ:
            WorkManager.settle(manager, item)
        return outcome

    around(patch, WorkManager, "exhaust", exhaust)


# KeyOrder


@planted
def what_is_given_back_is_overtaken(patch: pytest.MonkeyPatch) -> None:
    def put_back(original: Callable[..., None], queue: RunQueue, item: Any) -> None:
        queue.waiting.append(item)
        queue._land(item)  # noqa: SLF001 -- the bug to plant
        queue.offer()

    around(patch, RunQueue, "put_back", put_back)


@planted
def a_key_is_sent_ahead_while_its_run_comes_back(patch: pytest.MonkeyPatch) -> None:
    def stop(original: Callable[..., None], queue: RunQueue, item: Any) -> None:
        original(queue, item)
        queue._is_stopped, queue._reach = False, 30  # noqa: SLF001 -- the bug to plant

    around(patch, RunQueue, "_stop", stop)


@planted
def a_run_is_longer_than_the_engine_takes(patch: pytest.MonkeyPatch) -> None:
    around(patch, WorkManager, "allow_runs", lambda original, manager, most: original(manager, 100))


@planted
def a_key_is_sent_ahead_of_a_message_that_failed_for_good(patch: pytest.MonkeyPatch) -> None:
    def hold(original: Callable[..., None], queue: RunQueue, item: Any) -> None:
        original(queue, item)
        queue.held = 0

    around(patch, RunQueue, "hold", hold)
    patch.setattr(RunQueue, "release", lambda queue, item: queue.flying.append(item))


@planted
def what_stands_behind_a_failed_message_never_comes_back(patch: pytest.MonkeyPatch) -> None:
    def broke(original: Callable[..., Any], runs: Any, root: Any, *, is_final: bool) -> Any:
        if is_final:
            runs.left(root)
        return []

    around(patch, KeyOrder, "broke", broke)


@planted
def the_items_of_a_run_begin_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyOrder, "is_first", lambda runs, root: True)


# Flow


@planted
def the_limit_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Backpressure, "room", lambda backpressure, load: 100)
    patch.setattr(FairShares, "room", lambda *args: 100)


@planted
def fetching_never_resumes(patch: pytest.MonkeyPatch) -> None:
    def room(original: Callable[..., int], backpressure: Backpressure, load: Any) -> int:
        return 0 if backpressure.is_active else original(backpressure, load)

    around(patch, Backpressure, "room", room)


@planted
def one_partition_may_fill_the_buffer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WorkManager, "review_shares", lambda manager: None)
    patch.setattr(FairShares, "room", lambda *args: 10_000)


@planted
def a_paused_partition_stays_paused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WorkManager, "resume", lambda manager, tp, reason: None)


@planted
def finished_bytes_are_given_back_too_early(patch: pytest.MonkeyPatch) -> None:
    def take(original: Callable[..., Any], work: PartitionWork, *args: Any) -> Any:
        items = original(work, *args)
        work.loaded.total -= sum(len(item.message) for item in items)
        return items

    around(patch, PartitionWork, "take", take)


# Dead letters


@planted
def a_refused_letter_counts_as_sent(patch: pytest.MonkeyPatch) -> None:
    def take_answers(original: Callable[..., None], letters: DeadLetters, answers: Sequence[LetterAnswer]) -> None:
        original(letters, [answer._replace(code=None) for answer in answers])

    around(patch, DeadLetters, "take_answers", take_answers)


@planted
def a_refused_letter_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LetterQueue, "failed", lambda queue, letter, *_, **__: queue.acknowledged(letter))


@planted
def a_refused_letter_goes_out_with_the_others_again(patch: pytest.MonkeyPatch) -> None:
    def append(queue: Any, letter: Letter) -> None:
        queue.ready.append(letter)

    patch.setattr(letter_queue._TopicQueue, "append", append)  # noqa: SLF001 -- the bug to plant


@planted
def a_letter_that_is_refused_alone_never_changes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Letter, "can_shrink", lambda letter, code: False)


@planted
def a_letter_of_an_ended_assignment_settles_the_message_of_the_next(patch: pytest.MonkeyPatch) -> None:
    def settle(original: Callable[..., None], manager: Any, item: Any) -> None:
        work = manager._works.get(item.tp)  # noqa: SLF001 -- the bug to plant
        original(manager, item if work is None else work.tracker.unfinished.get(item.offset, item))

    around(patch, WorkManager, "settle", settle)


@planted
def a_message_of_a_poisoned_key_is_dropped(patch: pytest.MonkeyPatch) -> None:
    def take_condemned(exhausted: Any) -> None:
        for item in exhausted._manager.take_condemned():  # noqa: SLF001 -- the bug to plant
            exhausted._manager.settle(item)  # noqa: SLF001 -- the bug to plant

    patch.setattr(ExhaustedMessages, "take_condemned", take_condemned)


# Circuits


@planted
def the_circuit_never_closes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FailureCircuit, "wants_probe", property(lambda circuit: False))


@planted
def while_the_circuit_is_open_messages_are_let_go(patch: pytest.MonkeyPatch) -> None:
    def failed(original: Callable[..., bool], circuit: FailureCircuit, item: Any) -> bool:
        original(circuit, item)
        return False

    around(patch, FailureCircuit, "failed", failed)


@planted
def an_open_circuit_lets_a_crowd_of_probes_through(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FailureCircuit, "wants_probe", property(lambda circuit: circuit.is_open))


@planted
def a_probe_that_hangs_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    wants_probe: Any = FailureCircuit.wants_probe
    patch.setattr(
        FailureCircuit,
        "wants_probe",
        property(lambda circuit: not circuit.unanswered_probes and wants_probe.__get__(circuit)),
    )


@planted
def a_probe_starts_though_no_slot_is_free(patch: pytest.MonkeyPatch) -> None:
    def take(original: Callable[..., Any], manager: WorkManager, most: int, *args: Any) -> Any:
        return original(manager, max(most, manager.circuit.is_open), *args)

    around(patch, WorkManager, "take", take)


@planted
def an_open_circuit_with_nothing_to_probe_reads_nothing(patch: pytest.MonkeyPatch) -> None:
    room = WorkManager.room
    patch.setattr(
        WorkManager, "room", property(lambda manager: 0 if manager.circuit.is_open else room.__get__(manager))
    )


# The order among keys


@planted
def later_offsets_take_the_slots_of_lower_ones(patch: pytest.MonkeyPatch) -> None:
    around(patch, ReadyQueue, "take", lambda original, queue, most, slots: original(queue, most, len(queue)))


# The rate


@planted
def the_rate_is_no_limit(patch: pytest.MonkeyPatch) -> None:
    around(patch, RateLimit, "allowed", lambda original, limit, most, now, retries: most)


@planted
def what_waits_for_the_rate_waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    around(patch, RateLimit, "_fill", lambda original, limit, now: None)


@planted
def under_a_limit_later_offsets_start_before_lower_ones(patch: pytest.MonkeyPatch) -> None:
    def take_limited(original: Callable[..., Any], manager: WorkManager, most: int, slots: int, *args: Any) -> Any:
        with pytest.MonkeyPatch.context() as within:
            take = manager.take
            within.setattr(manager, "take", lambda allowed, _, now: take(allowed, slots, now))
            return original(manager, most, slots, *args)

    around(patch, WorkManager, "take_limited", take_limited)
