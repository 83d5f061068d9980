"""What the ledger of a chaos run must say. Pure: it is given all that happened, and returns what may not have happened.

Nothing is missing, commits are never ahead, and each key is in order, whatever was broken. Two things are excused, each
by a trouble that the run itself made, and counted by that trouble:

- a message runs again because its commit did not come through: its member was killed, frozen or cut off, or the brokers
  were away, when it finished or within the commit interval after it;
- two runs of a key overlap because the first one could not be ended: its process was frozen or cut off from the group
  while it ran, or it is a thread that outlasted the grace of a revoke.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tests.kafka.guarantees import (
    AtLeastOnce,
    CommitNeverAhead,
    EveryMessageAccountedFor,
    ExactlyOnce,
    Guarantee,
    OrderPerKey,
    broken,
)
from tests.kafka.history import History, Place, Run
from tests.kafka.ledger import Ledger, Sighting
from tests.kafka.told_records import Written

SECOND: Final = 1_000_000_000
GRACE_SECONDS: Final = 0.5
AFTERMATH_SECONDS: Final = 1.0
"""Seconds after a thaw until the process is heard of, on an overloaded machine."""
RECREATION_SECONDS: Final = 35.0
"""A topic that was made anew is noticed within half a minute; messages that were read before run again."""


LOST: Final = "lost by itself"
"""A member lost its session though no fault hit it, as its log says: the machine was overloaded."""
UNWRITTEN: Final = "not written within the grace"
"""The last transaction of revoked partitions, some six round trips, took longer than the grace. A member that writes
exactly once says so in its log."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that the run did to a member, or to all (``member`` None), from one moment to another.

    ``rewound`` is, of a partition whose offsets were set back, the partition and its new offset; ``topic``: only this.
    """

    kind: str
    member: str | None
    from_ns: int
    to_ns: int
    topic: str | None = None
    rewound: tuple[str, int, int] | None = None

    @property
    def seconds(self) -> float:
        return (self.to_ns - self.from_ns) / SECOND

    def hits(self, member: str) -> bool:
        return self.member in {None, member}


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run when it is over.

    Letters are (source, value). ``is_stable``: a topic whose log nobody replaced or cut; commits of others tell little.
    ``written`` are the records that a reader of committed records finds of ``written_topic``, None where members did
    not write exactly once.
    """

    records: Mapping[Place, tuple[bytes | None, bytes | None]]
    history: History
    letters: Sequence[tuple[Place, bytes | None]]
    sightings: Sequence[Sighting]
    committed: Mapping[tuple[str, int], int]
    ends: Mapping[tuple[str, int], int]
    troubles: Sequence[Trouble]
    engine: str
    is_classic: bool
    session_seconds: float
    commit_seconds: float
    slack_seconds: float = 1.5
    max_attempts: int = 3
    workers: int = 1
    unstable_topics: frozenset[str] = frozenset()
    written: Sequence[Written] | None = None
    written_topic: str = ""


@dataclass
class Verdict:
    """``findings`` is empty if no guarantee was broken; the counters say what each kind of trouble excused."""

    findings: list[str] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)
    overlaps: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    messages: int = 0


def member_of(owner: str) -> str:
    """The member that a journal's owner belongs to: worker processes add their process id to its name."""
    return owner.partition("-")[0]


def generation_of(value: bytes | None) -> str:
    """The incarnation of the log that a value belongs to: its text before the first hyphen."""
    return (value or b"").decode().partition("-")[0]


def judge(evidence: Evidence) -> Verdict:
    """The verdict on the whole run."""
    verdict = Verdict(runs=len(evidence.history.runs), messages=len(evidence.records))
    by_generation: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in evidence.history:
        by_generation[run.place[0], generation_of(run.value)].append(run)
    latest = {place[0]: generation_of(value) for place, (_, value) in evidence.records.items()}
    for (topic, generation), runs in sorted(by_generation.items()):
        is_latest = latest.get(topic) == generation
        ledger = _ledger(evidence, topic, runs) if is_latest else Ledger({}, History(runs))
        for name, violations in broken(ledger, _promised(evidence, topic, is_latest=is_latest)).items():
            verdict.findings += [f"{name}: {each}" for each in violations]
        _judge_overlaps(evidence, ledger.history, verdict)
        _judge_repetitions(evidence, ledger.history, verdict)
    ran = {topic for topic, _ in by_generation}
    verdict.findings += [f"AtLeastOnce: nothing of {topic} ran" for topic in sorted(set(latest) - ran)]
    return verdict


def _promised(evidence: Evidence, topic: str, *, is_latest: bool) -> tuple[Guarantee, ...]:
    """The guarantees to check for one topic; for a log that was replaced, only the order."""
    if not is_latest:
        return (OrderPerKey(),)
    if topic in evidence.unstable_topics:
        return AtLeastOnce(), EveryMessageAccountedFor(only_one=False)
    promised = AtLeastOnce(), OrderPerKey(), CommitNeverAhead(), EveryMessageAccountedFor(only_one=False)
    is_once = evidence.written is not None and topic == evidence.written_topic
    return (*promised, ExactlyOnce()) if is_once else promised


def _ledger(evidence: Evidence, topic: str, runs: Sequence[Run]) -> Ledger:
    records = {place: record for place, record in evidence.records.items() if place[0] == topic}
    is_stable = topic not in evidence.unstable_topics

    def stands(place: Place, value: bytes | None) -> bool:
        """Whether the current log still holds this message, after one log replaced another."""
        return is_stable or (place in records and records[place][1] == value)

    generation = generation_of(runs[0].value)
    letters = [
        place
        for place, value in evidence.letters
        if place[0] == topic and generation_of(value) == generation and stands(place, value)
    ]
    lettered = set(letters)
    return Ledger(
        records=records,
        history=History(_ended(run, lettered, evidence) for run in runs if stands(run.place, run.value)),
        sightings=[each for each in evidence.sightings if each.partition[0] == topic] if is_stable else [],
        committed={at: offset for at, offset in evidence.committed.items() if at[0] == topic},
        ends={at: offset for at, offset in evidence.ends.items() if at[0] == topic},
        letters=letters,
        max_attempts=evidence.max_attempts,
        written=[each for each in evidence.written or () if each.place[0] == topic],
    )


def _ended(run: Run, lettered: set[Place], evidence: Evidence) -> Run:
    """With a letter, a last attempt without an end counts as failed: it was cut off, or its worker process died."""
    if run.is_finished or run.attempt < evidence.max_attempts or run.place not in lettered:
        return run
    return replace(run, end="failed", ended_ns=run.started_ns if run.ended_ns is None else run.ended_ns)


def _judge_overlaps(evidence: Evidence, history: History, verdict: Verdict) -> None:
    for overlap in history.overlaps():
        excuse = _overlap_excuse(evidence, overlap.other) or _overlap_excuse(evidence, overlap.run)
        if excuse is None:
            verdict.findings.append(f"NoOverlapPerKey: {overlap}")
        else:
            verdict.overlaps[excuse] += 1


def _overlap_excuse(evidence: Evidence, run: Run) -> str | None:
    """The reason why this run could still be running when another owner began."""
    ended_ns = run.ended_ns or run.started_ns
    if _outlasts_the_grace(evidence, run):
        return "a thread that outlasted the grace"
    for trouble in evidence.troubles:
        if trouble.member != member_of(run.owner) or ended_ns < trouble.from_ns:
            continue
        if trouble.kind == "freeze" and run.started_ns <= trouble.from_ns:
            return "running when its process was frozen"
        lasts_to = trouble.to_ns + evidence.session_seconds * SECOND
        if trouble.kind in {"cut", "half-open", LOST} and run.started_ns < lasts_to:
            return f"its member could not hear that it was put out of the group: {trouble.kind}"
    return None


def _outlasts_the_grace(evidence: Evidence, run: Run) -> bool:
    """A thread cannot be stopped: it runs on after its partition was revoked, and its outcome is ignored."""
    ended_ns = run.ended_ns or run.started_ns
    return evidence.engine == "thread" and ended_ns - run.started_ns > GRACE_SECONDS * SECOND


def _judge_repetitions(evidence: Evidence, history: History, verdict: Verdict) -> None:
    runs_of: dict[Place, list[Run]] = defaultdict(list)
    for run in history:
        runs_of[run.place].append(run)
    zombies: Counter[Trouble] = Counter()
    for runs in runs_of.values():
        for number, run in enumerate(runs):
            done = [each for each in runs[:number] if each.is_finished and (each.ended_ns or 0) <= run.started_ns]
            for earlier in done:
                excuse = _excuse(evidence, earlier, run) or _zombie_excuse(evidence, run, zombies)
                if excuse is None:
                    verdict.findings.append(_repetition(earlier, run))
                else:
                    verdict.again[excuse] += 1


def _excuse(evidence: Evidence, earlier: Run, again: Run) -> str | None:
    """The trouble that prevented the commit of ``earlier``."""
    member, ended_ns = member_of(earlier.owner), earlier.ended_ns or 0
    if _outlasts_the_grace(evidence, earlier):
        return "a thread that outlasted the grace"
    for trouble in evidence.troubles:
        allowed_seconds = evidence.slack_seconds + evidence.commit_seconds
        if trouble.kind == "child killed":  # its parent knows at once which messages it has finished
            allowed_seconds = AFTERMATH_SECONDS
        if trouble.from_ns > again.started_ns or (trouble.topic or again.place[0]) != again.place[0]:
            continue
        if trouble.rewound is not None:
            *partition, offset = trouble.rewound
            if [*again.place[:2]] == partition and again.place[2] >= offset and ended_ns <= trouble.to_ns:
                return trouble.kind
            continue
        for name, until_ns in _reaches(evidence, trouble, member):
            if trouble.from_ns - allowed_seconds * SECOND <= ended_ns <= until_ns:
                return name
    return None


def _reaches(evidence: Evidence, trouble: Trouble, member: str) -> Iterator[tuple[str, float]]:
    """Until when this member's finished messages may stay uncommitted because of the trouble, and the reason's name."""
    session_ns = (evidence.session_seconds + evidence.slack_seconds) * SECOND
    if trouble.hits(member):
        after_seconds = {
            "child killed": 0.0,
            "kill": 0.0,
            "freeze": AFTERMATH_SECONDS,
            LOST: 0.0,
            UNWRITTEN: 0.0,
            "topic made anew": RECREATION_SECONDS,
        }.get(trouble.kind)
        yield trouble.kind, trouble.to_ns + (session_ns if after_seconds is None else after_seconds * SECOND)
    elif evidence.is_classic and trouble.kind != "child killed":
        # The group waits for a member that does not answer, and the commits of the others wait behind their JoinGroup.
        yield f"{trouble.kind} of another, classic protocol", trouble.to_ns + session_ns + AFTERMATH_SECONDS * SECOND


def _zombie_excuse(evidence: Evidence, run: Run, zombies: Counter[Trouble]) -> str | None:
    """The reason why a member began this message after others had taken the partition over.

    A freeze between the check of the lease and the worker's first line cannot be noticed: one message per worker.
    """
    for trouble in evidence.troubles:
        is_in_time = trouble.from_ns <= run.started_ns <= trouble.to_ns + AFTERMATH_SECONDS * SECOND
        if not is_in_time or trouble.member != member_of(run.owner):
            continue
        if trouble.kind == "freeze":
            zombies[trouble] += 1
            return "frozen while it began" if zombies[trouble] <= evidence.workers else None
    return None


def _repetition(earlier: Run, again: Run) -> str:
    after = (again.started_ns - (earlier.ended_ns or 0)) / SECOND
    return (
        f"Repetition: {again.owner} ran {again.place} of key {again.key!r} at {again.started_ns / SECOND:.3f} s, "
        f"{after:.2f} s after {earlier.owner} had finished it, and no trouble explains that"
    )
