"""The poll thread of one consumer, turn by turn: real ``Assignments``, ``ReadAhead``, ``FetchGate`` and ``resolve``.

Mirrors what the ingress does around them: commands, reads ahead of the granted credit, rebalance callbacks with their
bounded wait, commits filtered just before they are sent. Only ``turn`` makes it go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyrallel_consumer.control_plane.events import (
    Commit,
    CommitAnswered,
    CommitSnapshot,
    CoordinatorSilent,
    Lost,
    Pause,
    PollerClosed,
    PollThreadFroze,
    Resume,
    RevokeAsked,
)
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.coordinator_silence import CoordinatorSilence
from pyrallel_consumer.ingress.reading.fetch_gate import FetchGate, GateState
from pyrallel_consumer.ingress.reading.start_offset import (
    Committed,
    LogRange,
    Position,
    Start,
    believe,
    is_believable,
    resolve,
)
from tests.simulation.fetching import Fetching
from tests.simulation.group import Group, Notice, Stored
from tests.simulation.oracles import offsets, rebalances
from tests.simulation.scenario import LEADER_AWAY
from tests.simulation.scene import Scene
from tests.simulation.truth import covers
from tests.simulation.watched_manager import WatchedManager

OVERDUE_SECONDS = 1.0
GIVE_UP_TOLERANCE_SECONDS = 0.1


@dataclass(slots=True)
class RevokeQuestion:
    """A question to the loop that waits for its answer."""

    partitions: tuple[tuple[TopicPartition, int], ...]
    deadline: float
    is_last: bool
    given: tuple[TopicPartition, ...]
    answers: list[tuple[CommitSnapshot, ...]] = field(default_factory=list)

    def answer(self, snapshots: tuple[CommitSnapshot, ...]) -> None:
        self.answers.append(snapshots)


class PollSide:
    """``deliver`` hands facts to the loop side."""

    def __init__(
        self, scene: Scene, group: Group, name: str, manager: WatchedManager, deliver: Callable[[object], None]
    ) -> None:
        self.is_closed = False
        self._scene = scene
        self._group = group
        self._name = name
        self._manager = manager
        self._deliver = deliver
        self._assignments = Assignments()
        self.fetching = Fetching(scene, name, self._assignments, manager, deliver)
        self._gate = FetchGate()
        self.granted = 0
        self._commands: deque[Commit | Pause | Resume] = deque()
        self._asked_at: dict[int, float] = {}
        self._unanswered: dict[int, tuple[Commit, float]] = {}
        self._question: RevokeQuestion | None = None
        self._is_closing = False
        self._last_commit = 0
        self._silence = CoordinatorSilence()
        self._silence.session_seconds = 2 * scene.scenario.gap_seconds
        self.rebalances = 0
        """How many notices of the group it has heard."""

    # What the loop side calls

    def grant(self, total: int) -> None:
        self.granted = total

    def commit(self, command: Commit) -> None:
        self._asked_at[command.number] = self._scene.clock.now
        self._commands.append(command)

    def pause(self, command: Pause) -> None:
        self._commands.append(command)

    def resume(self, command: Resume) -> None:
        self._commands.append(command)

    def stop_fetching(self) -> None:
        self.fetching.read_ahead.stop()

    def close(self) -> None:
        self._is_closing = True

    @property
    def is_asking(self) -> bool:
        """Whether it is in a callback, and waits for the loop."""
        return self._question is not None

    @property
    def credit(self) -> int:
        return self.granted - self.fetching.count

    # What the world calls

    def turn(self, *, is_cut_off: bool = False) -> None:
        """One turn of the thread; inside a callback, one look whether the loop has answered.

        Without the network a callback hangs where it is, and nothing is heard or read.
        """
        if self._question is not None:
            if not is_cut_off:
                self._look_for_answer(self._question)
            return
        while self._commands:
            self._obey(self._commands.popleft())
        if not is_cut_off:
            if self._is_closing:
                self._begin_close()
                return
            self._hear_and_read()
        if self._question is None:
            self.fetching.hand_on(self.credit)
            self._look_at_coordinator()

    def _hear_and_read(self) -> None:
        room = self.fetching.read_ahead.room
        state = self._gate.step(room, self._scene.clock.now, 1)
        if state is not GateState.HOLD:
            self._serve_mail()
        if state is GateState.READ and self._question is None:
            self.fetching.read(room)

    def tell_of_gap(self, seconds: float) -> None:
        """The thread hung for ``seconds`` in its last turn."""
        if seconds > self._scene.scenario.gap_seconds:
            self._scene.begin_doubt(self._name)
            self._deliver(PollThreadFroze(seconds, self._last_commit))

    def _look_at_coordinator(self) -> None:
        if "dropped packets" not in self._scene.scenario.faults:
            return
        sent_at = self._unanswered[self._last_commit][1] if self._last_commit in self._unanswered else None
        seconds = self._silence.look(self._scene.clock.now, sent_at)
        if seconds:
            self._scene.note(f"{self._name}: the coordinator has been silent for {seconds:.2f} s")
            self._scene.begin_doubt(self._name)
            self._deliver(CoordinatorSilent(seconds, self._last_commit))

    def answer(self, number: int, errors: dict[TopicPartition, str | None]) -> None:
        """The client heard the broker's word on an asynchronous commit."""
        known = self._unanswered.pop(number, None)
        if known is None:
            return
        self._judge_standstill(known[1], errors)
        for snapshot in known[0].snapshots:
            if snapshot.tp in errors and errors[snapshot.tp] is None:
                self._manager.answered[id(snapshot)] = snapshot
        self._deliver(CommitAnswered(number, errors))

    def _judge_standstill(self, sent_at: float, errors: dict[TopicPartition, str | None]) -> None:
        standstill = self._scene.standstills.get(self._name)
        if standstill is not None and sent_at >= standstill.ends_at and None in errors.values():
            del self._scene.standstills[self._name]

    # Commands

    def _obey(self, command: Commit | Pause | Resume) -> None:
        if isinstance(command, Commit):
            self._send(command)
        elif self._assignments.is_current(command.tp, command.epoch):
            fetching = self.fetching
            (fetching.pause if isinstance(command, Pause) else fetching.resume)(command.tp)

    def _send(self, command: Commit) -> None:
        self._last_commit = command.number
        live = self._live(command.snapshots)
        if not live:
            self._deliver(CommitAnswered(command.number, {}))
            return
        now = self._scene.clock.now
        self._unanswered[command.number] = (command, now)
        waits_since = now - self._scene.scenario.give_up_seconds + GIVE_UP_TOLERANCE_SECONDS
        awaited = [known for known, _ in self._unanswered.values() if self._asked_at[known.number] > waits_since]
        offsets.rule_5_one_commit_at_a_time(awaited, self._name)
        self._group.send(self._name, command.number, live)

    def _live(self, snapshots: Sequence[CommitSnapshot]) -> tuple[CommitSnapshot, ...]:
        live = tuple(s for s in snapshots if self._assignments.is_current(s.tp, s.epoch))
        for snapshot in live:
            current_epoch = self._scene.current_epochs.get((self._name, snapshot.tp))
            offsets.rule_6_commits_only_what_is_assigned(snapshot, current_epoch)
        return live

    # Rebalances

    def _serve_mail(self) -> None:
        mail = self._group.members[self._name].mail
        while mail and self._question is None:
            notice = mail.popleft()
            self.rebalances += 1
            self._scene.note(f"{self._name} {notice}")
            if notice.kind == "assign":
                self._take(notice)
            elif notice.kind == "revoke":
                self._ask(notice.tps, is_last=False)
            else:
                self._drop(list(self._assignments), "lost")
                self._group.rejoin(self._name)

    def _take(self, notice: Notice) -> None:
        starts = []
        uncommitted = set()
        for tp in notice.tps:
            stored, log = self._group.stored.get(tp), self._scene.logs[tp]
            committed = None if stored is None else Committed(stored.offset, stored.metadata, stored.leader_epoch)
            high = Position(log.high, log.leader_epoch)
            ends = LogRange(Position(log.low, log.first_leader_epoch), high, high)
            reset = self._scene.scenario.reset
            is_away = is_believable(committed, reset) and self._scene.fault(LEADER_AWAY, 0.4)
            start = believe(tp, committed) if is_away else resolve(tp, committed, ends, reset)
            self._note_start(start, stored, is_away=is_away)
            if start.must_commit and not self._group.commit_start(start):
                uncommitted.add(tp)
            starts.append(start)
        for assigned in self._assignments.assign(starts, uncommitted):
            tp = assigned.tp
            self._scene.current_epochs[self._name, tp] = assigned.epoch
            self._scene.incarnations[self._name, tp, assigned.epoch] = self._scene.logs[tp].incarnation
            known = self._group.stored.get(tp)
            self._manager.handed_over[tp] = frozenset() if known is None else known.known
            self.fetching.begin(assigned)
            self._scene.note(f"{self._name} {assigned}")
            self._deliver(assigned)

    def _note_start(self, start: Start, stored: Stored | None, *, is_away: bool) -> None:
        truth, log, claims = self._scene.truth, self._scene.logs[start.tp], start.restored
        if start.warning:
            truth.taint(start.tp, start.warning)
        is_latest = self._scene.scenario.reset == "latest"
        is_within = stored is not None and log.low <= stored.offset <= log.high
        resolved = log.high if is_latest else log.low
        if is_away:  # Whatever the group has is believed; the client resets it where the log has not got it.
            self._scene.note(f"{self._name}: the leader of {start.tp} is away")
            if stored is None:
                self._scene.begun_unseen.add(start.tp)
            offsets.rule_4_start_is_what_was_committed(start, stored.offset if stored else None, 0)
        else:
            offsets.rule_4_start_is_what_was_committed(start, stored.offset if stored and is_within else None, resolved)
        if not is_within and is_latest and not is_away:
            truth.pass_over(log, start.offset)
        if stored is not None and stored.offset > log.high:
            truth.taint(start.tp, "the log was cut below the committed offset")
        known = frozenset() if stored is None else stored.known
        unknown = [
            record
            for record in log.records
            if record in truth.done
            and record not in truth.may_repeat
            and not (record in known and covers(claims, record.offset()))
        ]
        rebalances.rule_7_finished_work_is_handed_over(unknown, truth.tainted.pop(start.tp, None))
        truth.may_repeat.update(unknown)

    def _ask(self, tps: Sequence[TopicPartition], *, is_last: bool) -> None:
        epochs = [(tp, self._assignments.epoch_of(tp)) for tp in tps]
        ours = tuple((tp, epoch) for tp, epoch in epochs if epoch is not None)
        scenario = self._scene.scenario
        deadline = self._scene.clock.now + scenario.grace_seconds + scenario.answer_margin_seconds
        self._question = RevokeQuestion(ours, deadline, is_last, tuple(tps))
        if ours:
            self._deliver(RevokeAsked(ours, self._question.answer))
        else:
            self._end_question(self._question)

    def _look_for_answer(self, question: RevokeQuestion) -> None:
        tps = [tp for tp, _ in question.partitions]
        if question.answers:
            self._commit_last(question, question.answers[0])
            self._release(tps)
            self._end_question(question)
        elif self._scene.clock.now >= question.deadline:
            self._drop(tps, "not answered for in time")
            self._end_question(question)

    def _commit_last(self, question: RevokeQuestion, snapshots: tuple[CommitSnapshot, ...]) -> None:
        live = self._live(snapshots)
        if not live:
            return
        now = self._scene.clock.now
        if any(now - sent_at > OVERDUE_SECONDS for _, sent_at in self._unanswered.values()) and not question.is_last:
            self._group.send(self._name, None, live)
            errors: dict[TopicPartition, str | None] = dict.fromkeys((s.tp for s in live), "nobody waited")
        else:
            errors = self._group.commit_and_wait(self._name, live)
        for tp, error in errors.items():
            if error is not None:
                self._scene.truth.taint(tp, f"the last commit of {self._name}: {error}")

    def _end_question(self, question: RevokeQuestion) -> None:
        self._question = None
        if question.is_last:
            self._group.leave(self._name)
            self.is_closed = True
            self._deliver(PollerClosed())
        else:
            self._group.released(self._name, question.given)

    def _begin_close(self) -> None:
        self._ask(list(self._assignments), is_last=True)

    def _release(self, tps: Sequence[TopicPartition]) -> list[tuple[TopicPartition, int]]:
        for tp in tps:
            self.fetching.end(tp)
            self._scene.current_epochs.pop((self._name, tp), None)
        return self._assignments.release(tps)

    def _drop(self, tps: Sequence[TopicPartition], why: str) -> None:
        for tp, epoch in self._release(tps):
            self._scene.truth.taint(tp, f"{self._name}: {why}")
            self._deliver(Lost(tp, epoch))
