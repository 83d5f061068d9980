"""The parameters of one seed: every size, policy and fault of a run, drawn once at its beginning.

Each seed switches only some of the faults on (swarm testing): a fault that is always on hides what happens without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Literal

from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitPolicy
from pyrallel_consumer.control_plane.failures.poison_keys import PoisonPolicy
from pyrallel_consumer.control_plane.policies import BatchPolicy, FlowLimits, OrderingPolicy, RetryPolicy, WorkPolicy
from pyrallel_consumer.dto import (
    BatchBy,
    NullKeyOrdering,
    OnExhausted,
    OrderingMode,
    RebalanceStateStrategy,
    TopicPartition,
)

FAULTS = (
    "failures",
    "timeouts",
    "stubborn attempts",
    "commit refused",
    "answer lost",
    "answer never",
    "rebalance",
    "expiry",
    "crash",
    "stop",
    "truncation",
    "unseen truncation",
    "new leader",
    "retention",
    "rewind",
    "foreign metadata",
    "letters fail",
    "outage",
    "blocked loop",
)
LEADER_AWAY = "leader away"
FREEZING_SHARE = 0.3
LIMITED_SHARE = 0.15
DEATHS_SHARE = 0.3
DOUBTS_SHARE = 0.2
ABSENCE_SHARE = 0.2
POISON_SHARE = 0.1
FIRST_BATCH_SEED = 100_000
"""The first seed whose workers take batches."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The frozen choices of one run. Times are seconds."""

    tps: tuple[TopicPartition, ...]
    work: WorkPolicy
    retry: RetryPolicy
    slots: int
    run_length: int
    poll_batch_size: int
    read_ahead: FlowLimits
    commit_interval_seconds: float
    give_up_seconds: float
    gap_seconds: float
    grace_seconds: float
    answer_margin_seconds: float
    is_cooperative: bool
    reset: Literal["earliest", "latest"]
    keys: tuple[bytes | None, ...]
    largest_value_bytes: int
    broker_metadata_limit_bytes: int
    chunk: int
    failure_share: float
    faults: tuple[str, ...]
    steps: int
    batches: BatchPolicy | None = None

    def lane_of(self, key: bytes | None) -> object:
        """The value that orders a message of ``key`` within its partition; None for no order."""
        mode = self.work.ordering.mode
        if mode is OrderingMode.UNORDERED:
            return None
        if mode is OrderingMode.PARTITION:
            return "the whole partition"
        if key is None:
            return "no key" if self.work.ordering.null_keys is NullKeyOrdering.PARTITION else None
        return key


def draw(random: Random, steps: int) -> Scenario:
    """One scenario. It is ordered by key more often than not, because that is the main case."""
    run_length = random.choice((1, 1, 2, 6, 30))
    topics = ("orders", "payments")[: random.choice((1, 1, 2))]
    partitions = random.randint(1, 3)
    hot = [b"hot"] * random.choice((0, 0, 6) if run_length == 1 else (0, 6, 40))
    keys = [f"k{number}".encode() for number in range(random.choice((1, 2, 5, 12)))]
    faults = tuple(fault for fault in FAULTS if random.random() < random.choice((0.2, 0.5, 0.8)))
    return Scenario(
        tps=tuple(TopicPartition(topic, number) for topic in topics for number in range(partitions)),
        work=WorkPolicy(
            ordering=OrderingPolicy(
                random.choice((*[OrderingMode.KEY_HASH] * 4, OrderingMode.PARTITION, OrderingMode.UNORDERED)),
                random.choice(tuple(NullKeyOrdering)),
            ),
            limits=FlowLimits(random.choice((1, 5, 12, 30, 200)), random.choice((2_000, 9_000, 1_000_000, 1_000_000))),
            state_strategy=random.choice(
                (*[RebalanceStateStrategy.METADATA_SNAPSHOT] * 4, RebalanceStateStrategy.CONTIGUOUS_ONLY)
            ),
            on_exhausted=random.choice((OnExhausted.DLQ, OnExhausted.DLQ, *OnExhausted)),
            circuit=random.choice((None, None, _draw_circuit(random))),
            poison=random.choice((None, None, PoisonPolicy(random.choice((1, 2)), random.choice((0.1, 1.0))))),
            is_sending_ahead=run_length > 1,
        ),
        retry=RetryPolicy(
            max_attempts=random.choice((1, 2, 3)),
            backoff_ms=random.choice((0, 20, 150)),
            exponential=random.random() < 0.5,
            max_backoff_ms=400,
            jitter_ms=random.choice((0, 50)),
            timeout_ms=random.choice((100, 400)) if "timeouts" in faults else 0,
        ),
        slots=random.choice((1, 2, 4, 8, 20)),
        run_length=run_length,
        poll_batch_size=random.choice((1, 4, 10, 40)),
        read_ahead=FlowLimits(random.choice((1, 8, 40, 200)), random.choice((2_000, 1_000_000, 1_000_000))),
        commit_interval_seconds=random.choice((0.0, 0.05, 0.3)),
        give_up_seconds=1.5,
        gap_seconds=inf,
        grace_seconds=random.choice((0.0, 0.1, 0.5)),
        answer_margin_seconds=random.choice((0.2, 1.0)),
        is_cooperative=random.random() < 0.5,
        reset="earliest" if random.random() < 0.8 else "latest",
        keys=(*keys, *hot, *[None] * random.choice((0, 1, 3))),
        largest_value_bytes=random.choice((0, 200, 3_000)),
        broker_metadata_limit_bytes=random.choice((4_096, 4_096, 4_096, 24, 10)),
        chunk=random.choice((1, 2, 5, 32)),
        failure_share=random.choice((0.1, 0.3, 0.7)),
        faults=faults,
        steps=steps,
    )


def with_freezes(scenario: Scenario, random: Random) -> Scenario:
    """Consumers are frozen in some scenarios, drawn by a chance apart: all other seeds play as they did without.

    Without freezes no gap in time counts; otherwise every busy moment would count as a freeze.
    """
    if random.random() < FREEZING_SHARE:
        return replace(scenario, faults=(*scenario.faults, "freeze"), gap_seconds=random.choice((0.2, 0.5, 1.0)))
    return scenario


def with_rate(scenario: Scenario, random: Random) -> Scenario:
    """Some scenarios limit how many messages may start in a second; a separate random source draws the limit, as for
    freezes.
    """
    if random.random() < LIMITED_SHARE:
        return replace(scenario, work=replace(scenario.work, max_per_second=random.choice((3.0, 10.0, 50.0))))
    return scenario


def with_deaths(scenario: Scenario, random: Random) -> Scenario:
    """Worker processes die in some scenarios in which engines are sent items ahead; drawn by a chance apart."""
    if scenario.work.is_sending_ahead and random.random() < DEATHS_SHARE:
        return replace(scenario, faults=(*scenario.faults, "death"))
    return scenario


def with_doubts(scenario: Scenario, random: Random) -> Scenario:
    """In some scenarios a poll thread hangs alone, or the network drops a member's packets.

    A separate random source draws this.
    """
    if random.random() >= DOUBTS_SHARE:
        return scenario
    gap_seconds = random.choice((0.2, 0.5, 1.0)) if scenario.gap_seconds == inf else scenario.gap_seconds
    faults = random.choice((("hung poll thread",), ("dropped packets",), ("hung poll thread", "dropped packets")))
    return replace(scenario, faults=(*scenario.faults, *faults), gap_seconds=gap_seconds)


def with_absence(scenario: Scenario, random: Random) -> Scenario:
    """In some scenarios the leader of a partition is away when it is assigned; drawn by a chance apart."""
    return replace(scenario, faults=(*scenario.faults, LEADER_AWAY)) if random.random() < ABSENCE_SHARE else scenario


def with_poison(scenario: Scenario, random: Random) -> Scenario:
    """In some scenarios most messages fail, and so many keys are poisoned; drawn by a chance apart."""
    if random.random() >= POISON_SHARE:
        return scenario
    poison = PoisonPolicy(random.choice((1, 2)), random.choice((0.3, 2.0)))
    faults = dict.fromkeys((*scenario.faults, "failures"))
    return replace(
        scenario,
        work=replace(scenario.work, on_exhausted=OnExhausted.DLQ, poison=poison),
        retry=replace(scenario.retry, max_attempts=1),
        failure_share=0.7,
        faults=tuple(faults),
    )


def with_batches(scenario: Scenario, random: Random) -> Scenario:
    """Workers take batches: in the seeds from ``FIRST_BATCH_SEED`` on, so that all others play as they did without."""
    size = random.choice((1, 2, 3, 8, 30))
    batches = BatchPolicy(
        size=size,
        max_bytes=random.choice((500, 1 << 20, 1 << 20)),
        linger_seconds=random.choice((0.0, 0.02, 0.2)),
        by=random.choice((*[BatchBy.ANY] * 3, *BatchBy)),
    )
    run_length = min(size, scenario.slots)
    work = replace(scenario.work, is_sending_ahead=True)
    return replace(scenario, batches=batches, run_length=run_length, work=work)


def _draw_circuit(random: Random) -> CircuitPolicy:
    return CircuitPolicy(
        failure_share=random.choice((0.3, 0.6)),
        window=random.choice((2, 5, 12)),
        probe_seconds=random.choice((0.05, 0.2)),
    )
