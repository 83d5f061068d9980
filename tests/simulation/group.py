"""The broker's side of a consumer group: committed offsets with metadata, members, and who owns which partition.

Requests of one member are carried out in their order, as on one connection. A partition changes hands when its owner
gave it back, left, or was found dead; only then does the next one get it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.start_offset import Start
from tests.simulation.oracles import offsets
from tests.simulation.scene import Scene
from tests.simulation.topic_log import Record

REFUSALS = (
    "ILLEGAL_GENERATION",
    "REBALANCE_IN_PROGRESS",
    "STALE_MEMBER_EPOCH",
    "NOT_COORDINATOR",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "_TIMED_OUT",
)

TOO_LARGE = "OFFSET_METADATA_TOO_LARGE"

Errors = dict[TopicPartition, str | None]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the group has committed. ``known`` are the records that are finished by this commit."""

    offset: int
    metadata: str
    leader_epoch: int | None = None
    known: frozenset[Record] = frozenset()


@dataclass(frozen=True, slots=True)
class Notice:
    """What a member learns at its next poll: ``assign``, ``revoke``, or ``lost`` of these partitions."""

    kind: str
    tps: tuple[TopicPartition, ...] = ()


@dataclass(slots=True)
class Request:
    """A commit on its way. ``is_stale``: the session in which it was sent is over."""

    number: int | None
    snapshots: tuple[CommitSnapshot, ...]
    is_stale: bool = False


@dataclass(slots=True)
class Member:
    """``mail`` holds the notices on their way to the member, ``wire`` its commits on their way here, oldest first."""

    name: str
    mail: deque[Notice] = field(default_factory=deque)
    wire: deque[Request] = field(default_factory=deque)
    target: list[TopicPartition] = field(default_factory=list)
    asked: set[TopicPartition] = field(default_factory=set)


class Group:
    """Members, owners and committed offsets."""

    def __init__(self, scene: Scene) -> None:
        self.stored: dict[TopicPartition, Stored] = {}
        self.members: dict[str, Member] = {}
        self.answers: list[tuple[str, int, Errors]] = []
        self.commits = 0
        self._scene = scene
        self._landed: dict[TopicPartition, tuple[str, CommitSnapshot]] = {}
        for tp in scene.logs:
            scene.owners[tp] = None

    # Membership

    def join(self, name: str) -> None:
        self.members[name] = Member(name)
        self.rebalance()

    def leave(self, name: str) -> None:
        """Handle the member's request after all its commits: they share one connection."""
        while self.members[name].wire:
            self.land(name)
        del self.members[name]
        self._give_back(name, self.owned_by(name))
        self.rebalance()

    def expire(self, name: str, *, is_alive: bool) -> None:
        """The session timed out: others get the partitions at once, and the member learns of it later, if ever."""
        member = self.members.pop(name)
        for tp in self.owned_by(name):
            self._scene.truth.taint(tp, f"{name} was found dead")
        self._give_back(name, self.owned_by(name))
        if is_alive:
            lost = Member(name)
            lost.mail.append(Notice("lost"))
            lost.wire = member.wire
            for request in lost.wire:
                request.is_stale = True
            self.members[name] = lost
        self.rebalance()

    def rejoin(self, name: str) -> None:
        """The member has released its lost partitions, and takes part again."""
        self._scene.note(f"group: {name} rejoins")
        self.rebalance()

    def rebalance(self) -> None:
        """Distribute the partitions again, at random."""
        random = self._scene.random
        names = [name for name in self.members if not self._is_outside(name)]
        for member in self.members.values():
            member.target = []
        for tp in self._scene.logs:
            if names:
                self.members[random.choice(names)].target.append(tp)
        for member in self.members.values():
            going = [
                tp
                for tp in self.owned_by(member.name)
                if tp not in member.asked and not (self._scene.scenario.is_cooperative and tp in member.target)
            ]
            if going:
                member.asked.update(going)
                member.mail.append(Notice("revoke", tuple(going)))
        self._hand_out()

    def released(self, name: str, tps: Sequence[TopicPartition]) -> None:
        """The member has given these back, after its earlier commits."""
        while self.members[name].wire:
            self.land(name)
        self.members[name].asked.difference_update(tps)
        self._give_back(name, [tp for tp in tps if self._scene.owners[tp] == name])
        self._hand_out()

    def owned_by(self, name: str) -> list[TopicPartition]:
        return [tp for tp, owner in self._scene.owners.items() if owner == name]

    def _is_outside(self, name: str) -> bool:
        return any(notice.kind == "lost" for notice in self.members[name].mail)

    def _give_back(self, name: str, tps: Sequence[TopicPartition]) -> None:
        for tp in tps:
            self._scene.note(f"group: {tp} is given back by {name}")
            self._scene.owners[tp] = None

    def _hand_out(self) -> None:
        owners = self._scene.owners
        if not self._scene.scenario.is_cooperative and any(
            owners[tp] is not None and tp in self.members[owners[tp] or ""].asked for tp in owners
        ):
            return  # An eager group waits until all have given back what they had.
        for member in self.members.values():
            fresh = [tp for tp in member.target if owners[tp] is None]
            if fresh and not self._is_outside(member.name):
                for tp in fresh:
                    owners[tp] = member.name
                member.mail.append(Notice("assign", tuple(fresh)))

    # Commits

    def send(self, name: str, number: int | None, snapshots: tuple[CommitSnapshot, ...]) -> None:
        """A request is sent, in the present session of its sender."""
        self.members[name].wire.append(Request(number, snapshots, is_stale=self._is_outside(name)))

    def commit_and_wait(self, name: str, snapshots: tuple[CommitSnapshot, ...]) -> Errors:
        """A synchronous commit: earlier requests are carried out before it."""
        wire = self.members[name].wire
        self.send(name, None, snapshots)
        while len(wire) > 1:
            self.land(name)
        return self.land(name)

    def land(self, name: str) -> Errors:
        """Carry out the oldest request of a member; the answer to a numbered one goes to ``answers``."""
        request = self.members[name].wire.popleft()
        number, snapshots = request.number, request.snapshots
        errors = self._refused(snapshots, is_member=not request.is_stale)
        for snapshot in snapshots:
            if errors[snapshot.tp] is None:
                self._store(name, snapshot)
        if TOO_LARGE in errors.values() and self._scene.random.random() < 0.5:
            errors = dict.fromkeys(errors, TOO_LARGE)  # The client tells of one error as if it were everybody's.
        if self._scene.fault("answer lost", 0.1):
            errors = {tp: error or "_TIMED_OUT" for tp, error in errors.items()}
        self._scene.note(f"group: commit {number} of {name} {[str(s) for s in snapshots]} -> {errors}")
        if number is not None:
            self.answers.append((name, number, errors))
        self.commits += 1
        return errors

    def commit_start(self, start: Start) -> bool:
        """The group gets no offset, one that the log lacks, or a bad map; returns whether the member knows it."""
        if self._scene.fault("commit refused", 0.3):
            return False
        tp = start.tp
        before = self.stored.get(tp)
        known = frozenset[Record]() if before is None else before.known
        self.store(tp, Stored(start.offset, encode(start.restored, tp), start.leader_epoch, known))
        return not self._scene.fault("answer lost", 0.2)

    def store(self, tp: TopicPartition, stored: Stored) -> None:
        self.stored[tp] = stored
        self._scene.committed_offsets[tp] = stored.offset

    def _refused(self, snapshots: Sequence[CommitSnapshot], *, is_member: bool) -> Errors:
        scene = self._scene
        if not is_member:
            return dict.fromkeys((snapshot.tp for snapshot in snapshots), "UNKNOWN_MEMBER_ID")
        whole = scene.random.choice(REFUSALS) if scene.fault("commit refused", 0.15) else None
        errors: Errors = {}
        for snapshot in snapshots:
            error = whole
            if len(snapshot.metadata) > scene.scenario.broker_metadata_limit_bytes:
                error = TOO_LARGE
            elif scene.fault("commit refused", 0.1):
                error = scene.random.choice(REFUSALS)
            errors[snapshot.tp] = error
        return errors

    def _store(self, name: str, snapshot: CommitSnapshot) -> None:
        tp = snapshot.tp
        offsets.rule_6_lands_only_from_the_owner(tp, self._scene.owners[tp], name)
        before = self._landed.get(tp)
        offsets.rule_1_commits_never_go_back(snapshot, before[1] if before is not None and before[0] == name else None)
        self._landed[tp] = (name, snapshot)
        known = self._scene.known[id(snapshot)][1]
        self.store(tp, Stored(snapshot.offset, snapshot.metadata, snapshot.leader_epoch, known))
