"""The rebalance callbacks, on the poll thread: partitions are assigned, revoked and lost.

Before partitions are revoked, the thread asks the loop for their last snapshots (``RevokeQuestion``). No callback
raises: an exception would destroy messages that the client has already delivered, so it is reported to ``fail``
instead. No wait is unbounded. Every callback tells the client the new assignment; otherwise the client would assign in
its own way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.events import CommitSnapshot, Lost, RevokeAsked
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.polling.commits import Commits
from pyrallel_consumer.ingress.polling.ending import Ending
from pyrallel_consumer.ingress.polling.fetch_pauses import FetchPauses
from pyrallel_consumer.ingress.polling.lookups.topic_ids import TopicIds
from pyrallel_consumer.ingress.polling.stable_reads import StableReads
from pyrallel_consumer.ingress.polling.starts import NobodyAnswered, SearchGivenUp, StartSearch, for_client
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.ingress.reading.start_offset import Start, topic_made_anew
from pyrallel_consumer.log import Log, listed

LOGGER: Final = Log("pyrallel_consumer.ingress")
# While it waits for the loop, an abandoned thread notices it after at most this time.
ABANDON_CHECK_SECONDS: Final = 0.05


class RevokeQuestion:
    """One question to the loop about partitions that are being revoked, and the loop's answer."""

    def __init__(self, partitions: Sequence[tuple[TopicPartition, int]], deadline: float) -> None:
        self.partitions = tuple(partitions)
        self.deadline = deadline
        self.snapshots: tuple[CommitSnapshot, ...] = ()
        self._answered = threading.Event()

    @property
    def is_answered(self) -> bool:
        return self._answered.is_set()

    def answer(self, snapshots: tuple[CommitSnapshot, ...]) -> None:
        """Called by the loop, once; a second answer changes nothing."""
        if not self._answered.is_set():
            self.snapshots = snapshots
            self._answered.set()

    def wait(self, ending: Ending, clock: Callable[[], float], serve: Callable[[], None] = lambda: None) -> bool:
        """Sleep until the answer, the deadline, or the end of the loop; returns whether the answer came.

        ``serve`` is called again and again meanwhile.
        """
        while not self.is_answered and not ending.is_abandoned:
            serve()
            remaining = self.deadline - clock()
            if remaining <= 0:
                break
            self._answered.wait(min(remaining, ABANDON_CHECK_SECONDS))
        return self.is_answered


class Rebalance:
    """``on_assign``, ``on_revoke`` and ``on_lost`` for ``subscribe``; ``count`` counts the rebalances that moved a
    partition.

    ``must_join_anew``: partitions were assigned and could not be started; the caller must leave the group and rejoin.
    """

    def __init__(
        self,
        *,
        is_cooperative: bool,
        grace_seconds: float,
        assignments: Assignments,
        read_ahead: ReadAhead,
        starts: StartSearch,
        topic_ids: TopicIds,
        commits: Commits,
        pauses: FetchPauses,
        ending: Ending,
        clock: Callable[[], float],
        deliver: Callable[[Any], None],
        fail: Callable[[BaseException], None],
        settle: Callable[[], None],
        serve: Callable[[Consumer], None] | None = None,
        stable: StableReads | None = None,
    ) -> None:
        self._stable = stable
        self._serve = serve or _do_nothing
        self._is_cooperative = is_cooperative
        self._grace_seconds = grace_seconds
        self._assignments = assignments
        self._read_ahead = read_ahead
        self._starts = starts
        self._topic_ids = topic_ids
        self._commits = commits
        self._pauses = pauses
        self._ending = ending
        self._clock = clock
        self._deliver = deliver
        self._fail = fail
        self._settle = settle
        self._closing: RevokeQuestion | None = None
        self.count = 0
        self.must_join_anew = False

    def on_assign(self, client: Consumer, partitions: list[ClientPartition]) -> None:
        """Find where the new partitions begin, tell the loop, let the client fetch."""
        try:
            self._take(client, partitions)
        except BaseException as error:  # noqa: BLE001 -- no callback raises; the thread ends with it
            self._fail(error)

    def on_revoke(self, client: Consumer, partitions: list[ClientPartition]) -> None:
        """Let the loop finish within the grace, commit its snapshots, release the partitions."""
        try:
            self._let_go(client, partitions)
        except BaseException as error:  # noqa: BLE001 -- no callback raises; the thread ends with it
            self._fail(error)

    def on_lost(self, client: Consumer, partitions: list[ClientPartition]) -> None:
        """The partitions belong to another member already: nothing may be committed."""
        try:
            self._drop(_places(partitions), "lost")
            self._unassign(client, partitions)
        except BaseException as error:  # noqa: BLE001 -- no callback raises; the thread ends with it
            self._fail(error)

    def ask_to_close(self, seconds: float) -> RevokeQuestion:
        """Ask the loop to finish with all assigned partitions, outside of a rebalance and without waiting.

        A rebalance that comes before the answer waits for that answer, and asks no second question.
        """
        tps = list(self._assignments)
        self._closing = self._asked(tps, self._clock() + seconds)
        return self._closing

    def begin_anew(self, client: Consumer, tps: Collection[TopicPartition]) -> None:
        """The topics of these partitions were deleted and created anew: read them from their beginning.

        Even with ``latest``: the group existed before the first message of the new log.
        """
        for tp in tps:
            if self._starts.reset == "error":
                self._fail(topic_made_anew(tp))
                return
            try:
                client.seek(ClientPartition(tp.topic, tp.partition, OFFSET_BEGINNING))
            except KafkaException as error:
                LOGGER.debug("the client did not seek: %s", error)  # The caller that found the new log tries again.
                continue
            for fact in self._read_ahead.put(self._assignments.begin_anew(tp)):
                LOGGER.warning(
                    "the topic of %s was deleted and created anew: reading begins at the beginning of the new log",
                    tp,
                    extra=_extra(tp, fact.epoch),
                )
                self._deliver(fact)

    def release(self, tps: Collection[TopicPartition], why: str) -> list[tuple[TopicPartition, int]]:
        """Remove partitions from the assignment; returns the removed ones with their epochs."""
        self._commits.disown(tps)
        released = self._assignments.release(tps)
        self._read_ahead.drop(tps)
        self._pauses.forget(tps)
        if released:
            names = listed([str(tp) for tp, _ in released])
            LOGGER.info("released %s: %s", names, why, extra={"partitions": len(released)})
        return released

    def drop_unanswered(self, tps: Collection[TopicPartition]) -> None:
        """Release the partitions for which the loop did not answer, and tell the loop."""
        LOGGER.error(
            "the event loop did not release %d partitions in time: what it finished there last is not committed "
            "and will run again; is a worker blocking the loop?",
            len(tps),
        )
        self._drop(tps, "unanswered")

    def lose_rest(self) -> None:
        """The client has ended without giving these partitions back: nothing of them may be committed."""
        self._drop(list(self._assignments), "lost")
        if self._stable is not None:
            self._stable.forget(list(self._stable.waiting_since))

    def _take(self, client: Consumer, partitions: list[ClientPartition]) -> None:
        if not partitions:
            self._assign(client, [])
            return
        self.count += 1
        self._settle()
        tps = _places(partitions)
        self._topic_ids.expect({tp.topic for tp in tps}, self._clock())
        waiting = set() if self._stable is None else self._stable.begin(tps)
        ready = [tp for tp in tps if tp not in waiting]
        try:
            found = self._starts.find(client, ready) if ready else []
        except SearchGivenUp as why:
            # The client must accept the partitions that the group assigned, or it cannot give them back.
            self.must_join_anew = isinstance(why, NobodyAnswered)
            self._assign(client, partitions)
            client.pause(partitions)
            return
        self._begin(client, found)
        held = [ClientPartition(tp.topic, tp.partition, OFFSET_END) for tp in waiting]
        self._assign(client, [*map(for_client, found), *held])
        self._pauses.settle(client, ready)
        if held:
            client.pause(held)
            LOGGER.warning(
                "%s: a transaction of the former owner is open, and reading begins when it has ended, at the latest "
                "after that owner's OutputConfig.transaction_timeout_ms",
                listed(sorted(map(str, waiting))),
                extra={"partitions": len(waiting)},
            )

    def waiting_since(self) -> dict[TopicPartition, float]:
        """The partitions that wait for the end of a transaction, and since when. For any thread."""
        return {} if self._stable is None else dict(self._stable.waiting_since)

    def begin_late(self, client: Consumer, now: float) -> None:
        """Begin with partitions that have waited for the end of a transaction. Called now and then.

        Raises a BrokerError as the search for their starts does.
        """
        ended = [] if self._stable is None else self._stable.ended(now)
        if self._stable is None or not ended:
            return
        try:
            found = self._starts.find(client, ended)
        except SearchGivenUp as why:
            self.must_join_anew = isinstance(why, NobodyAnswered)
            return
        begun = [start for start in found if _is_sought(client, start)]
        tps = [start.tp for start in begun]
        self._stable.forget(tps)
        self._begin(client, begun)
        self._pauses.settle(client, tps)

    def _begin(self, client: Consumer, found: Sequence[Start]) -> None:
        """Commit where partitions begin, if that must be, and tell the loop."""
        uncommitted = self._commit_starts(client, found)
        self._read_ahead.drop([start.tp for start in found])
        self._topic_ids.hear(self._clock())  # A new log that is known by now is not taken for one that comes later.
        taken = self._assignments.assign(found, uncommitted)
        if taken:
            names = listed([f"{assigned.tp} from offset {assigned.start_offset}" for assigned in taken])
            LOGGER.info("assigned %s", names, extra={"partitions": len(taken)})
        for assigned in taken:
            self._deliver(assigned)

    def _commit_starts(self, client: Consumer, found: Sequence[Start]) -> set[TopicPartition]:
        uncommitted = [start for start in found if start.must_commit]
        return self._commits.commit_starts(client, uncommitted) if uncommitted else set()

    def _let_go(self, client: Consumer, partitions: list[ClientPartition]) -> None:
        tps = _places(partitions)
        ours = {tp for tp in tps if self._assignments.epoch_of(tp) is not None}
        if ours and not self._ending.is_abandoned:
            self.count += 1
            question = self._closing or self._asked(ours, self._clock() + self._grace_seconds)
            if question.wait(self._ending, self._clock, lambda: self._serve(client)):
                going = [snapshot for snapshot in question.snapshots if snapshot.tp in ours]
                self._commits.commit_before_revoke(client, going)
                self.release(ours, "revoked")
            elif not self._ending.is_abandoned:
                self.drop_unanswered(ours)
        self.release(ours, "abandoned")
        self._unassign(client, partitions)

    def _asked(self, tps: Collection[TopicPartition], deadline: float) -> RevokeQuestion:
        epochs = [(tp, self._assignments.epoch_of(tp)) for tp in tps]
        question = RevokeQuestion([(tp, epoch) for tp, epoch in epochs if epoch is not None], deadline)
        self._deliver(RevokeAsked(question.partitions, question.answer))
        return question

    def _drop(self, tps: Collection[TopicPartition], why: str) -> None:
        released = self.release(tps, why)
        self.count += bool(released)
        for tp, epoch in released:
            self._deliver(Lost(tp, epoch))

    def _assign(self, client: Consumer, partitions: list[ClientPartition]) -> None:
        if self._is_cooperative:
            client.incremental_assign(partitions)
        else:
            client.assign(partitions)

    def _unassign(self, client: Consumer, partitions: list[ClientPartition]) -> None:
        if self._stable is not None:
            self._stable.forget(_places(partitions))
        try:
            if self._is_cooperative:
                client.incremental_unassign(partitions)
            else:
                client.unassign()
        except KafkaException as error:
            # The client refuses to give back partitions that it does not have: then nothing needs to be given back.
            LOGGER.debug("the client did not unassign: %s", error)


def _do_nothing(_: Consumer) -> None:
    pass


def _is_sought(client: Consumer, start: Start) -> bool:
    try:
        client.seek(for_client(start))
    except KafkaException as error:
        LOGGER.debug("the client did not seek: %s", error)  # It has not begun with the partition: tried again.
        return False
    return True


def _places(partitions: Sequence[ClientPartition]) -> list[TopicPartition]:
    return [TopicPartition(p.topic, p.partition) for p in partitions]


def _extra(tp: TopicPartition, epoch: int) -> dict[str, object]:
    return {"topic": tp.topic, "partition": tp.partition, "epoch": epoch}
