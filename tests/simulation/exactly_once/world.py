"""The world of one seed: members join, leave, die and are slow; at the end everything is written, and nothing twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random

from pyrallel_consumer.control_plane.output import transaction_plan
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.dto import RebalanceStateStrategy, TopicPartition
from tests.simulation.exactly_once.batch_member import BatchMember
from tests.simulation.exactly_once.broker import Broker
from tests.simulation.exactly_once.member import Member
from tests.simulation.oracles.verdict import RuleBroken

STEPS = 250
DRAIN_ROUNDS = 3_000


class World:
    """``run`` raises whatever breaks first."""

    def __init__(self, seed: int) -> None:
        random = self._random = Random(seed)
        self.clock = [0.0]
        tps = [TopicPartition("orders", number) for number in range(random.randint(1, 3))]
        self.broker = Broker(random, tps, random.choice((4_096, 60, 40)))
        self.members: list[Member] = []
        self._keys = [b"k%d" % number for number in range(random.choice((2, 5, 30)))]
        self._names = (f"member-{number}" for number in count())
        self._epochs = count(1)
        self._zombies: list[tuple[Member, TopicPartition]] = []
        self._member = random.choice((Member, Member, BatchMember))
        self._policy = WorkPolicy(
            is_writing=True,
            is_sending_ahead=self._member is BatchMember or random.random() < 0.3,
            state_strategy=random.choice(
                (*[RebalanceStateStrategy.METADATA_SNAPSHOT] * 5, RebalanceStateStrategy.CONTIGUOUS_ONLY)
            ),
        )

    def run(self) -> None:
        with _tight_maps():
            self._append()
            self._join()
            for _ in range(STEPS):
                self.clock[0] += self._random.choice((0.0, 0.01, 0.05))
                self._step()
            self._drain()

    def _step(self) -> None:
        happenings = (self._append, self._join, self._move, self._lose, self._crash, self._hear_of_loss)
        weights = (3, 1, 2, 1.5, 1, 3)
        if self._random.random() < 0.25:
            self._random.choices(happenings, weights)[0]()
            return
        member = self._random.choice(self.members)
        act = self._random.choice(("read", "start", "finish", "finish", "tick", "produce", "hear"))
        match act:
            case "read":
                member.read(self._random.choice((1, 5, 30)))
            case "start":
                member.start(self._random.choice((1, 4, 20)))
            case "finish":
                for _ in range(min(len(member.running), self._random.choice((1, 3, 9)))):
                    member.finish(self._random.choice(member.running))
            case "tick":
                member.tick()
            case "produce":
                member.produce()
            case _:
                member.hear()

    def _append(self) -> None:
        log = self._random.choice(list(self.broker.logs.values()))
        log += self._random.choices([*self._keys, None], k=self._random.choice((3, 10, 40)))

    def _join(self) -> None:
        if len(self.members) >= 3:
            return
        self.members.append(self._member(self._random, self.broker, next(self._names), self.clock, self._policy))
        for tp, owner in self.broker.owners.items():
            if owner is None:
                self._hand(tp, self.members[-1])

    def _hand(self, tp: TopicPartition, member: Member) -> None:
        if tp in member.epochs:  # It was lost without its knowledge, and comes back: it hears of that first.
            self._zombies.remove((member, tp))
            member.lose(tp)
        self.broker.owners[tp] = member.name
        member.assign(tp, next(self._epochs))

    def _owner(self, tp: TopicPartition) -> Member | None:
        return next((each for each in self.members if each.name == self.broker.owners[tp]), None)

    def _move(self) -> None:
        tp = self._random.choice(list(self.broker.owners))
        owner, heir = self._owner(tp), self._random.choice(self.members)
        if owner is not None and heir is not owner:
            owner.revoke(tp, has_time=self._random.random() < 0.7)
            self._hand(tp, heir)

    def _lose(self) -> None:
        """The group gives a partition away before its owner learns of it; the owner's open transaction is fenced."""
        tp = self._random.choice(list(self.broker.owners))
        owner, heir = self._owner(tp), self._random.choice(self.members)
        if owner is not None and heir is not owner:
            self._zombies.append((owner, tp))
            self._hand(tp, heir)

    def _hear_of_loss(self) -> None:
        if self._zombies:
            member, tp = self._zombies.pop(self._random.randrange(len(self._zombies)))
            member.lose(tp)

    def _crash(self) -> None:
        """A kill -9: the open transaction ends in either way."""
        if len(self.members) < 2:
            return
        member = self.members.pop(self._random.randrange(len(self.members)))
        if self._random.random() < 0.5:
            member.produce()
        self._zombies = [zombie for zombie in self._zombies if zombie[0] is not member]
        for tp, owner in self.broker.owners.items():
            if owner == member.name:
                self._hand(tp, self._random.choice(self.members))

    # The last phase

    def _drain(self) -> None:
        while self._zombies:
            self._hear_of_loss()
        for _ in range(DRAIN_ROUNDS):
            self.clock[0] += 0.06
            if self._is_done():
                return
            for member in self.members:
                member.read(30)
                member.start(50)
                for item in list(member.running):
                    member.finish(item)
                member.tick()
                member.produce(is_calm=True)
                member.hear()
        raise RuleBroken("20", f"it does not drain: {self.broker.offsets}")

    def _is_done(self) -> bool:
        broker = self.broker
        for tp, log in broker.logs.items():
            if broker.offsets[tp][0] < len(log):
                return False
        for tp, log in broker.logs.items():
            for offset in range(len(log)):
                outcomes = broker.written[tp, offset] + broker.letters[tp, offset]
                is_silent = offset % 5 == 3
                if outcomes != (0 if is_silent else 1):
                    raise RuleBroken("exactly once", f"{outcomes} outcomes of {tp}-{offset} are written")
        return True


@contextmanager
def _tight_maps() -> Iterator[None]:
    """Small maps need little slack; and this simulation provokes the warnings."""
    logger = logging.getLogger("pyrallel_consumer")
    level, slack = logger.level, transaction_plan.SLACK_BYTES
    logger.setLevel(logging.CRITICAL)
    transaction_plan.SLACK_BYTES = 6  # type: ignore[misc]  # of the simulation alone
    try:
        yield
    finally:
        transaction_plan.SLACK_BYTES = slack  # type: ignore[misc]
        logger.setLevel(level)
