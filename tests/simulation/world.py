"""The world of one seed: steps and faults in random order, then a last phase in which all must drain.

In the last phase no fault strikes any more: every record must get done, everything must be committed to the end of its
log, and then nothing more may move.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pyrallel_consumer.control_plane.offsets.commit_encoder import MetadataRefused, decode
from tests.simulation.group import Group, Stored
from tests.simulation.happenings import FOREIGN, Happenings
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.scenario import (
    FIRST_BATCH_SEED,
    draw,
    with_absence,
    with_batches,
    with_deaths,
    with_doubts,
    with_freezes,
    with_poison,
    with_rate,
)
from tests.simulation.scene import Scene
from tests.simulation.topic_log import TopicLog
from tests.simulation.virtual_consumer import VirtualConsumer
from tests.simulation.virtual_loop import Clock

DRAIN_ROUNDS = 1500
CALM_ROUNDS = 12
ROUND_SECONDS = 0.03
MOST_NAMED = 10


class World:
    """``run`` raises whatever breaks first: an oracle, or the code under test itself."""

    def __init__(self, seed: int, steps: int, diary: list[str] | None = None) -> None:
        random = Random(seed)
        scenario = with_freezes(draw(random, steps), Random(f"the freezes of {seed}"))
        scenario = with_rate(scenario, Random(f"the rate of {seed}"))
        if seed >= FIRST_BATCH_SEED:
            scenario = with_batches(scenario, Random(f"the batches of {seed}"))
        scenario = with_deaths(scenario, Random(f"the deaths of {seed}"))
        scenario = with_doubts(scenario, Random(f"the doubts of {seed}"))
        scenario = with_absence(scenario, Random(f"the absence of {seed}"))
        scenario = with_poison(scenario, Random(f"the poison of {seed}"))
        logs = {tp: TopicLog(tp, random.choice((0, 0, 7, 1000))) for tp in scenario.tps}
        self.scene = Scene(scenario, random, Clock(random), logs, diary=diary)
        self._group = Group(self.scene)
        self._happenings = Happenings(self.scene, self._group)
        self.scene.note(f"{scenario}")

    def run(self) -> None:
        self._begin()
        scene, weighed = self.scene, self._happenings.weighed()
        weights = [weight for weight, _ in weighed]
        for _, happen in scene.random.choices(weighed, weights, k=scene.scenario.steps):
            scene.clock.now += scene.random.choice((0.0, 0.001, 0.005, 0.01, 0.03))
            happen()
            for consumer in self._happenings.alive:
                consumer.step_life()
        scene.end_faults()
        scene.note("faults end")
        self._drain()

    def _begin(self) -> None:
        for _ in range(len(self.scene.logs) * 3):
            self._happenings.produce()
        if self.scene.fault("foreign metadata", 1.0):
            for tp, log in self.scene.logs.items():
                self._group.store(tp, Stored(log.low, self.scene.random.choice(FOREIGN)))
        self._happenings.join()

    # The last phase

    def _drain(self) -> None:
        calm_rounds = 0
        for _ in range(self._drain_rounds()):
            commits = self._group.commits
            self._take_round()
            is_calm = not self.scene.truth.runs and self._group.commits == commits and self._is_all_settled()
            calm_rounds = calm_rounds + 1 if is_calm else 0
            if calm_rounds == CALM_ROUNDS:
                return
        raise RuleBroken("2/6/20", f"it does not drain, or does not come to rest: {[*self._leftovers()]}")

    def _drain_rounds(self) -> int:
        """As many as suffice; a limit of messages per second needs more of them."""
        per_second = self.scene.scenario.work.max_per_second
        records = sum(len(log.records) for log in self.scene.logs.values())
        return DRAIN_ROUNDS + (int(records / per_second / ROUND_SECONDS) if per_second else 0)

    def _take_round(self) -> None:
        """Everybody takes a turn, and everything under way arrives."""
        self.scene.clock.now += ROUND_SECONDS
        alive = {consumer.name for consumer in self._happenings.alive}
        for name in [name for name in self._group.members if name not in alive]:
            self._group.expire(name, is_alive=False)
        if not alive:
            self._happenings.join()
        for consumer in self._happenings.alive:
            self._go_on(consumer)
        for name, member in self._group.members.items():
            while member.wire:
                self._group.land(name)
        while self._group.answers:
            self._happenings.answer_commit()

    @staticmethod
    def _go_on(consumer: VirtualConsumer) -> None:
        consumer.poll()
        while consumer.run_loop(20):
            pass
        for item in consumer.engine.endable():
            consumer.engine.end(item, "ok")
        consumer.answer_letter()
        consumer.resume_exhausted()
        consumer.step_life()

    def _is_all_settled(self) -> bool:
        return next(self._leftovers(), None) is None

    def _leftovers(self) -> Iterator[str]:
        """What is not yet in its final state."""
        for tp, log in self.scene.logs.items():
            undone = [record for record in log.records if not self.scene.truth.is_done(record)]
            stored = self._group.stored.get(tp)
            if undone:
                yield f"{len(undone)} records of {tp} were never done: {undone[:MOST_NAMED]}"
            elif stored is None or stored.offset < log.high or (stored.offset > log.high and not self._may_wait(log)):
                yield f"{tp} ends at {log.high}, committed is {stored}"
            elif stored.offset == log.high and _has_map(log, stored):
                yield f"{tp} is committed to its end with a map of gaps"
        loads = sum(consumer.manager.load.messages for consumer in self._happenings.alive)
        if loads:
            yield f"{loads} messages are still loaded"

    def _may_wait(self, log: TopicLog) -> bool:
        """Beyond the end of a truncated log, with ``latest`` or if it is empty, nothing tells until the next record."""
        return self.scene.scenario.reset == "latest" or log.low == log.high


def _has_map(log: TopicLog, stored: Stored) -> bool:
    """Whether a commit lists offsets beyond the log's end; after an unnoticed truncation it may."""
    try:
        return log.incarnation == 0 and not decode(stored.metadata, log.tp, stored.offset).is_empty
    except MetadataRefused:
        return False
