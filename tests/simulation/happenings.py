"""What may happen in the world at any step, each with its weight: the ordinary course, and the faults of the scenario.

Every method is one thing that happens; who and where is left to chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pyrallel_consumer.control_plane.offsets.commit_encoder import MetadataRefused, decode, encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from tests.simulation.group import Group
from tests.simulation.scene import Scene
from tests.simulation.topic_log import TopicLog
from tests.simulation.virtual_consumer import VirtualConsumer

MOST_CONSUMERS = 3
SLOW_SHARE = 0.6
FOREIGN = ("", "owned by another program", "pyrallel/9/AAAA", "pyrallel/1/!!!!", "pyrallel/1/AAAAAAAA", "\x00ü")

Happening = Callable[[], None]


class Happenings:
    """Acts on the group and its consumers; ``consumers`` holds all that ever were."""

    def __init__(self, scene: Scene, group: Group) -> None:
        self.consumers: list[VirtualConsumer] = []
        self._scene = scene
        self._group = group

    def weighed(self) -> list[tuple[float, Happening]]:
        """All that can happen in this scenario."""
        faults: dict[str, tuple[float, Happening]] = {
            "rebalance": (4, self._group.rebalance),
            "expiry": (2, self._expire),
            "crash": (0.7, self._crash),
            "stop": (1, self._stop),
            "truncation": (1.2, self._truncate),
            "unseen truncation": (1.5, self._truncate_unseen),
            "new leader": (3, self._change_leader),
            "retention": (1, self._retain),
            "rewind": (1.2, self._rewind),
            "foreign metadata": (1, self._write_foreign_metadata),
            "blocked loop": (0.7, self._block_loop),
            "freeze": (2, self._freeze),
            "death": (3, self._kill_worker),
            "hung poll thread": (2, self._hang_poll_thread),
            "dropped packets": (2, self._drop_packets),
            "answer never": (1, self._lose_answer),
            "outage": (3, self._begin_or_end_outage),
        }
        return [
            (80, self._poll),
            (110, self._run_loop),
            (80, self._end_attempts),
            (12, self._land_commit),
            (12, self.answer_commit),
            (12, self._answer_letter),
            (14, self.produce),
            (2, self.join),
            (6, self._let_time_pass),
            (2, self._resume_exhausted),
            *(happening for fault, happening in faults.items() if fault in self._scene.scenario.faults),
        ]

    @property
    def alive(self) -> list[VirtualConsumer]:
        return [consumer for consumer in self.consumers if consumer.is_alive]

    # The ordinary course

    def produce(self) -> None:
        scenario, random = self._scene.scenario, self._scene.random
        log = self._scene.logs[random.choice(scenario.tps)]
        for _ in range(random.choice((1, 3, 8))):
            log.append(random.choice(scenario.keys), b"x" * random.randint(0, scenario.largest_value_bytes))
            if random.random() < 0.15:
                log.append_hole(random.choice((1, 2, 9)))

    def join(self) -> None:
        if len(self.alive) < MOST_CONSUMERS:
            name = f"consumer-{len(self.consumers) + 1}"
            self.consumers.append(VirtualConsumer(self._scene, self._group, name))
            self._group.join(name)

    def answer_commit(self) -> None:
        """Answers may overtake each other."""
        silent = {
            consumer.name for consumer in self.alive if consumer.is_frozen or consumer.is_hung or consumer.is_cut_off
        }
        answers = self._group.answers
        if any_one := [answer for answer in answers if answer[0] not in silent]:
            name, number, errors = self._scene.random.choice(any_one)
            answers.remove((name, number, errors))
            for consumer in self.alive:
                if consumer.name == name:
                    consumer.poll_side.answer(number, errors)

    def _poll(self) -> None:
        if consumer := self._any():
            consumer.poll()

    def _run_loop(self) -> None:
        consumer = self._any()
        if consumer and consumer.blocked_until <= self._scene.clock.now:
            consumer.run_loop(self._scene.random.choice((1, 1, 2, 5)))

    def _end_attempts(self) -> None:
        """Worker processes go on while their consumer is frozen, with slow work; everything else stands still."""
        consumer = self._any(may_be_frozen=self._scene.scenario.work.is_sending_ahead)
        if consumer and not (consumer.is_frozen and self._scene.random.random() < SLOW_SHARE):
            for _ in range(self._scene.random.choice((1, 1, 3, 10))):
                if items := consumer.engine.endable():
                    consumer.engine.end_by_chance(self._scene.random.choice(items))

    def _land_commit(self) -> None:
        cut_off = {consumer.name for consumer in self.alive if consumer.is_cut_off}
        names = [name for name, member in self._group.members.items() if member.wire and name not in cut_off]
        if names:
            self._group.land(self._scene.random.choice(names))

    def _answer_letter(self) -> None:
        if consumer := self._any():
            consumer.answer_letter()

    def _let_time_pass(self) -> None:
        self._scene.clock.now += self._scene.random.choice((0.1, 0.3))

    def _resume_exhausted(self) -> None:
        if consumer := self._any():
            consumer.resume_exhausted()

    # Faults

    def _expire(self) -> None:
        if self._group.members:
            name = self._scene.random.choice(list(self._group.members))
            is_alive = any(consumer.name == name for consumer in self.alive)
            self._group.expire(name, is_alive=is_alive)

    def _crash(self) -> None:
        if consumer := self._any(may_be_frozen=True):
            consumer.die()

    def _stop(self) -> None:
        if consumer := self._any():
            consumer.stop()

    def _truncate(self) -> None:
        """An unclean leader, which lacks the last records."""
        random, log = self._scene.random, self._scene.logs[self._some_tp()]
        self._cut(log, log.low if random.random() < 0.3 else random.randint(log.low, log.high))

    def _truncate_unseen(self) -> None:
        """An unclean leader while nobody reads: its log lacks records that a committed map lists."""
        tops = {tp: top for tp in self._scene.logs if (top := self._top_of_map(tp)) is not None}
        if tops:
            tp = self._scene.random.choice(list(tops))
            for consumer in self.alive:
                if consumer.name == self._scene.owners[tp]:
                    consumer.die()
            self._cut(self._scene.logs[tp], self._scene.random.randrange(self._group.stored[tp].offset, tops[tp]))

    def _top_of_map(self, tp: TopicPartition) -> int | None:
        """The end of a commit's map; None if the map lists nothing that the log holds."""
        stored, log = self._group.stored.get(tp), self._scene.logs[tp]
        try:
            known = None if stored is None else decode(stored.metadata, tp, stored.offset)
        except MetadataRefused:
            return None
        return known.top if known is not None and log.low <= known.base < known.top <= log.high else None

    def _cut(self, log: TopicLog, offset: int) -> None:
        """The log may grow beyond its old end before anyone looks."""
        log.truncate(offset)
        for _ in range(self._scene.random.choice((1, 3, 12))):
            log.append(self._scene.random.choice(self._scene.scenario.keys), b"new")
        self._scene.note(f"{log.tp} is truncated at {offset}")
        for consumer in self.alive:
            consumer.poll_side.fetching.truncated(log.tp, offset)

    def _change_leader(self) -> None:
        """A clean change of the leader: nothing is lost."""
        tp = self._some_tp()
        self._scene.logs[tp].change_leader()
        self._scene.note(f"{tp} has a new leader")

    def _retain(self) -> None:
        """The oldest records are deleted, done or not."""
        log = self._scene.logs[self._some_tp()]
        log.retain_from(self._scene.random.randint(log.low, log.high))
        self._scene.note(f"{log.tp} begins at {log.low}")

    def _rewind(self) -> None:
        """The client begins again at an earlier offset, of the same log."""
        tp = self._some_tp()
        if self._scene.logs[tp].records:
            offset = self._scene.random.choice(self._scene.logs[tp].records).offset()
            for consumer in self.alive:
                consumer.poll_side.fetching.rewind(tp, offset)

    def _write_foreign_metadata(self) -> None:
        """Another tool writes to the group: other metadata, or a map copied from another offset."""
        tp = self._scene.random.choice(self._scene.scenario.tps)
        stored = self._group.stored.get(tp)
        if stored is not None:
            copied = encode(OffsetMap(stored.offset + 1, stored.offset + 9, (stored.offset + 1,)), tp)
            metadata = self._scene.random.choice((*FOREIGN, copied))
            self._group.store(tp, replace(stored, metadata=metadata))
            self._scene.truth.taint(tp, "foreign metadata")

    def _block_loop(self) -> None:
        if consumer := self._any():
            consumer.block_loop(self._scene.random.choice((0.2, 0.6, 2.0)))

    def _freeze(self) -> None:
        """Freeze a consumer for a session or longer: the one with the most work."""
        moving = [consumer for consumer in self.alive if not consumer.is_frozen]
        if moving:
            consumer = max(moving, key=lambda each: each.engine.running())
            consumer.freeze(*self._time_and_session())

    def _hang_poll_thread(self) -> None:
        """A callback of the user hangs, or a call of the client."""
        if consumer := self._any():
            consumer.hang_poll_thread(*self._time_and_session())

    def _drop_packets(self) -> None:
        if consumer := self._any():
            consumer.drop_packets(*self._time_and_session())

    def _time_and_session(self) -> tuple[float, float]:
        session_seconds = 2 * self._scene.scenario.gap_seconds
        return session_seconds * self._scene.random.choice((0.3, 0.8, 1.5, 3.0)), session_seconds

    def _kill_worker(self) -> None:
        if consumer := self._any():
            consumer.engine.kill_worker(self._scene.random.choice((1, 2, 20)))

    def _lose_answer(self) -> None:
        if self._group.answers:
            self._group.answers.pop(0)

    def _begin_or_end_outage(self) -> None:
        self._scene.is_outage = not self._scene.is_outage
        self._scene.note("an outage begins" if self._scene.is_outage else "the outage ends")

    # Chance

    def _any(self, *, may_be_frozen: bool = False) -> VirtualConsumer | None:
        moving = [consumer for consumer in self.alive if may_be_frozen or not consumer.is_frozen]
        return self._scene.random.choice(moving) if moving else None

    def _some_tp(self) -> TopicPartition:
        """Prefer a partition that is still being restored: that state is short."""
        restoring = [tp for consumer in self.alive for tp in consumer.poll_side.fetching.restoring]
        return self._scene.random.choice(restoring or self._scene.scenario.tps)
