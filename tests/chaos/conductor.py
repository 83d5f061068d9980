"""Carries a schedule out: members under load, the faults at their times, then peace, and the evidence of it all.

The steps of each slot, and the steps of the cluster, run one after the other on a thread of their own, so a broker that
starts slowly delays no thaw.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from tests.chaos.chaos_load import ChaosLoad
from tests.chaos.fleet import WORKERS, Slot, execution_settings, member_settings
from tests.chaos.judge import GRACE_SECONDS, LOST, SECOND, UNWRITTEN, Evidence, Trouble
from tests.chaos.log_excerpt import told_at
from tests.chaos.plan import EXTRA_SLOT, SESSION_SECONDS, SLOTS, Step
from tests.chaos.site import Site, Topics
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.deadline import wait_until
from tests.kafka.history import Place
from tests.kafka.journal import read_journals
from tests.kafka.ledger import CommitSightings
from tests.kafka.plain_log import read_log
from tests.kafka_cluster import KafkaCluster, Record
from tests.kafka_node import KafkaNode
from tests.letter_box import read_letters

WORK_MS: Final = 5.0
LOOK_SECONDS: Final = 0.05
DRAIN_SECONDS: Final = 120.0
COMMIT_SECONDS: Final = 0.2
TRANSACTION_SECONDS: Final = (
    3.0  # Then the coordinator aborts: what finished that long before a fault may be unwritten.
)
EXACTLY_ONCE: Final = {"delivery": "exactly_once", "transaction_timeout_ms": int(TRANSACTION_SECONDS * 1000)}
LOST_LINE: Final = re.compile(r"\d{4}-.{18} INFO .* released .*: lost$")
UNWRITTEN_LINE: Final = re.compile(r"\d{4}-.{18} WARNING .* did not end within the grace ")
CLUSTER_VERBS: Final = frozenset(
    {
        "add_partitions",
        "kill_broker",
        "kill_follower",
        "kill_leader",
        "make_anew",
        "refuse_letters",
        "reset_offsets",
        "start_broker",
        "stop_broker",
        "take_letters",
        "unclean_election",
    }
)


@dataclass
class Outcome:
    """The evidence at the end of a run; ``stuck`` says what was not drained, None if everything was.

    ``kafka_faults`` are faults of Kafka itself, for people.
    """

    evidence: Evidence
    steps: Counter[str]
    odd_exits: list[tuple[int, str]]
    unsent: int
    load_per_core: float
    stuck: str | None = None
    failed_steps: list[str] = field(default_factory=list)
    kafka_faults: list[str] = field(default_factory=list)


class Conductor:
    """One run; journals and logs lie in ``folder``."""

    def __init__(
        self, folder: Path, seed: int, engine: str, protocol: str, brokers: int = 1, *, is_once: bool = False
    ) -> None:
        self._is_once = is_once
        self._results: str | None = None
        self._folder = folder
        self._seed = seed
        self._engine = engine
        self._protocol = protocol
        self._site = Site(brokers)
        self._troubles: list[Trouble] = []
        self._cluster_ns: int | None = None
        self._down: list[KafkaNode] = []
        self._done: Counter[str] = Counter()
        self._failed: list[str] = []
        self._was_group_made_anew = False
        self._lock = threading.Lock()

    def run(self, plan: Sequence[Step], report: Callable[[str], None] = lambda _line: None) -> Outcome:
        """Starts everything, breaks it as the plan says, heals it, waits until all is committed, and collects."""
        with ExitStack() as stack:
            report("Starting the brokers ...")
            self._topics = self._site.open(stack)
            self._group = self._site.kafka.new_group()
            self._results = self._site.make_results() if self._is_once else None
            self._slots = [Slot(number, self._start_member, self._note) for number in range(SLOTS + 1)]
            for slot in self._slots:
                stack.callback(slot.kill)
            partitions = [(self._topics.work, at) for at in range(12)]
            sightings = stack.enter_context(CommitSightings(self._site.bootstrap_servers, self._group, partitions))
            may_die = self._engine.startswith("process")
            load = ChaosLoad(self._site.bootstrap_servers, self._topics, self._seed, may_die=may_die)
            with load:
                self._load = load
                for slot in self._slots[:SLOTS]:
                    slot.start()
                self._carry_out(plan, report)
                report("Everything is healed; waiting until all is committed ...")
                self._make_peace()
            stuck = self._drained()
            if stuck is not None and self._site.kafka_faults():
                report("A coordinator of Kafka's was active before it had loaded its log; the group is made anew ...")
                self._make_group_anew()
                stuck = self._drained()
            for slot in self._slots:
                slot.stop()
            return self._collect(sightings, stuck)

    def _start_member(self, slot: int, name: str) -> ConsumerProcess:
        kafka = member_settings(self._protocol, slot, self._site.bootstrap_of(slot), self._group)
        execution = execution_settings(self._engine)
        return ConsumerProcess(
            self._folder,
            name,
            self._topics.all,
            kafka,
            execution=execution,
            work_ms=WORK_MS,
            is_told=True,
            is_async=self._engine.endswith("async"),
            output=None if self._results is None else EXACTLY_ONCE,
            results=None if self._results is None else (self._topics.work, self._results),
        )

    def _note(self, trouble: Trouble) -> None:
        with self._lock:
            self._troubles.append(trouble)

    def _carry_out(self, plan: Sequence[Step], report: Callable[[str], None]) -> None:
        threads = {number: ThreadPoolExecutor(1, f"slot {number}") for number in range(len(self._slots))}
        cluster = ThreadPoolExecutor(1, "cluster")
        begun = time.monotonic()
        futures: list[tuple[Step, Future[None]]] = []
        for step in plan:
            while (left := begun + step.at_seconds - time.monotonic()) > 0:
                time.sleep(min(left, LOOK_SECONDS))
                for slot in self._slots:
                    slot.look()
            report(f"{step.at_seconds:7.2f} s  {step.verb} {step.target} {step.amount or ''}".rstrip())
            thread = cluster if step.verb in CLUSTER_VERBS else threads[step.target]
            futures.append((step, thread.submit(self._do, step)))
        for step, future in futures:
            try:
                future.result()
            except Exception as error:  # noqa: BLE001 - the run goes on to its end, and what failed is a finding
                self._failed.append(f"{step} could not be done: {type(error).__name__}: {error}")
        for thread in (*threads.values(), cluster):
            thread.shutdown()

    def _do(self, step: Step) -> None:
        act = getattr(self, f"_{step.verb}")
        act(step)
        with self._lock:
            self._done[step.verb] += 1

    # ---- a member

    def _start(self, step: Step) -> None:
        self._slots[step.target].start()

    def _stop(self, step: Step) -> None:
        self._slots[step.target].stop()

    def _kill(self, step: Step) -> None:
        self._slots[step.target].kill()

    def _freeze(self, step: Step) -> None:
        self._slots[step.target].freeze(with_children=True)

    def _freeze_parent(self, step: Step) -> None:
        self._slots[step.target].freeze(with_children=False)

    def _thaw(self, step: Step) -> None:
        self._slots[step.target].thaw()

    def _kill_child(self, step: Step) -> None:
        self._slots[step.target].kill_child(self._folder, step.amount)

    # ---- its network

    def _latency(self, step: Step) -> None:
        self._site.proxies.delay(step.target, step.amount)

    def _cut(self, step: Step) -> None:
        self._slots[step.target].network_breaks("cut")
        self._site.proxies.cut(step.target)

    def _half_open(self, step: Step) -> None:
        self._slots[step.target].network_breaks("half-open")
        self._site.proxies.half_open(step.target)

    def _heal(self, step: Step) -> None:
        self._site.proxies.heal(step.target)
        self._slots[step.target].network_heals()

    # ---- the cluster

    def _stop_broker(self, step: Step) -> None:
        self._cluster_ns = time.monotonic_ns()
        self._site.nodes[step.target].stop()

    def _kill_broker(self, step: Step) -> None:
        self._cluster_ns = time.monotonic_ns()
        self._site.nodes[step.target].kill()

    def _start_broker(self, step: Step) -> None:
        self._site.nodes[step.target].start()
        self._cluster_is_back("broker away")

    def _kill_follower(self, _step: Step) -> None:
        leader, follower = self._site.leader_and_follower()
        self._cluster_ns = time.monotonic_ns()
        self._down = [follower, leader]
        follower.kill()

    def _kill_leader(self, _step: Step) -> None:
        self._down[1].kill()

    def _unclean_election(self, _step: Step) -> None:
        follower, _ = self._down
        follower.launch()
        assert self._topics.unclean
        wait_until(self._leads(follower), "the follower leads uncleanly")
        self._site.wait_whole()
        self._cluster_is_back("unclean election")
        # A commit beyond the end of the cut log leaves the start to auto_offset_reset, which is earliest here.
        now_ns, unclean = time.monotonic_ns(), self._topics.unclean
        self._note(Trouble("log cut", None, now_ns, now_ns, topic=unclean, rewound=(unclean, 0, 0)))

    def _leads(self, node: KafkaNode) -> Callable[[], bool]:
        def leads() -> bool:
            try:
                return self._site.leader_and_follower()[0] is node
            except (KafkaException, ValueError, IndexError):
                return False

        return leads

    def _cluster_is_back(self, kind: str) -> None:
        assert self._cluster_ns is not None
        self._note(Trouble(kind, None, self._cluster_ns, time.monotonic_ns()))
        self._cluster_ns = None

    def _refuse_letters(self, _step: Step) -> None:
        self._site.take_letters(is_on=False)

    def _take_letters(self, _step: Step) -> None:
        self._site.take_letters(is_on=True)

    def _add_partitions(self, _step: Step) -> None:
        self._site.add_partitions()

    def _make_anew(self, _step: Step) -> None:
        with self._load.anew_stands_still():
            from_ns = time.monotonic_ns()
            self._site.make_anew()
            self._note(Trouble("topic made anew", None, from_ns, time.monotonic_ns(), topic=self._topics.anew))

    def _reset_offsets(self, step: Step) -> None:
        """Sets the offset of one partition of ``work`` back by a number of messages, while the group has no members."""
        from_ns = time.monotonic_ns()
        for slot in self._slots:
            slot.stop()
        kafka, topic = self._site.kafka, self._topics.work
        committed = kafka.committed_offsets(self._group, topic)
        if committed:
            partition = sorted(committed)[int(step.amount) % len(committed)]
            offset = max(0, committed[partition] - int(step.amount))
            kafka.commit(self._group, [TopicPartition(topic, partition, offset)])
            place = (topic, partition, offset)
            self._note(Trouble("offsets reset", None, from_ns, time.monotonic_ns(), rewound=place))
        for slot in self._slots[:SLOTS]:
            slot.start()

    # ---- the end

    def _make_peace(self) -> None:
        for slot in self._slots:
            slot.thaw()
            self._site.proxies.heal(slot.number)
            slot.network_heals()
        self._site.wait_whole()
        if self._cluster_ns is not None:
            self._cluster_is_back("broker away")
        self._site.take_letters(is_on=True)
        for slot in self._slots[:SLOTS]:
            slot.start()
        assert EXTRA_SLOT == SLOTS
        self._slots[EXTRA_SLOT].stop()

    def _make_group_anew(self) -> None:
        """What an operator does about a group whose epoch Kafka has set back: nothing else heals it soon."""
        for slot in self._slots:
            slot.stop()
        self._site.make_group_anew(self._group)
        self._was_group_made_anew = True
        for slot in self._slots[:SLOTS]:
            slot.start()

    def _drained(self) -> str | None:
        """A text about what is not committed after so long, None if everything is."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while behind := self._behind():
            if time.monotonic() > deadline:
                group = self._site.group_state(self._group)
                return f"{DRAIN_SECONDS:.0f} s after all was healed this is not committed: {behind}; {group}"
            time.sleep(0.5)
            for slot in self._slots:
                slot.look()
        return None

    def _behind(self) -> dict[tuple[str, int], tuple[int | None, int]]:
        """Committed offset and end of the log of each partition where they differ."""
        return {at: (committed, end) for at, committed, end in self._ends() if end and committed != end}

    def _ends(self) -> list[tuple[tuple[str, int], int | None, int]]:
        found = []
        for topic in self._topics.all:
            committed = self._site.kafka.committed_offsets(self._group, topic)
            ends = self._site.kafka.end_offsets(topic)
            found += [((topic, at), committed.get(at), end) for at, end in ends.items()]
        return found

    def _collect(self, sightings: CommitSightings, stuck: str | None) -> Outcome:
        kafka, topics = self._site.kafka, self._topics
        ends = self._ends()
        evidence = Evidence(
            records=_records(kafka, topics),
            history=read_journals(self._folder),
            letters=_letters(kafka, topics),
            sightings=sightings.seen,
            committed={at: committed for at, committed, _ in ends if committed is not None},
            ends={at: end for at, _, end in ends},
            troubles=[*sorted(self._troubles, key=lambda trouble: trouble.from_ns), *self._heard_of()],
            engine=self._engine,
            is_classic=self._protocol.partition("-")[0] in {"classic", "eager"},
            session_seconds=SESSION_SECONDS,
            commit_seconds=COMMIT_SECONDS + (TRANSACTION_SECONDS if self._is_once else 0.0),
            workers=WORKERS[self._engine],
            unstable_topics=frozenset({topics.anew, *([topics.unclean] if topics.unclean else [])}),
            written=None if self._results is None else self._site.read_written(self._results),
            written_topic=topics.work,
        )
        odd = [exit_ for slot in self._slots for exit_ in slot.odd_exits]
        self._site.keep_logs(self._folder)
        faults = self._site.kafka_faults()
        if self._was_group_made_anew:
            faults.append("the group was assigned nothing for long, and was made anew with its offsets")
        return Outcome(evidence, self._done, odd, self._load.unsent, _load_per_core(), stuck, self._failed, faults)

    def _heard_of(self) -> list[Trouble]:
        """Troubles that members report, and that no fault of the run explains."""
        losses = self._told(LOST, LOST_LINE, SESSION_SECONDS)
        return [*losses, *self._told(UNWRITTEN, UNWRITTEN_LINE, GRACE_SECONDS)] if self._is_once else losses

    def _told(self, kind: str, line: re.Pattern[str], seconds: float) -> list[Trouble]:
        """A trouble that had lasted for so long when its line was logged."""
        lasted_ns = int(seconds * SECOND)
        return [Trouble(kind, member, told_ns - lasted_ns, told_ns) for member, told_ns in told_at(self._folder, line)]


def _load_per_core() -> float:
    """The machine's load: programs that wanted to run in the last five minutes, per core."""
    return os.getloadavg()[1] / (os.cpu_count() or 1)


def _records(kafka: KafkaCluster, topics: Topics) -> dict[Place, Record]:
    records: dict[Place, Record] = {}
    for topic in topics.all:
        records |= read_log(kafka, topic)
    return records


def _letters(kafka: KafkaCluster, topics: Topics) -> list[tuple[Place, bytes | None]]:
    found = [read_letters(kafka.bootstrap_servers, f"{topic}.dlq") for topic in topics.all]
    return [(letter.source, letter.value) for letters in found for letter in letters]
