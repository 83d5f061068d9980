"""The orderly end of a poll thread: the last exchange with loop and broker, before the client is closed.

This does not happen inside the client's own ``close``: there the coordinator answers no questions and ``on_commit``
never fires, so a wait for a commit would have no bound. Here polling goes on, and a rebalance in between is served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Consumer

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.error_kinds import FATAL
from pyrallel_consumer.ingress.polling.commits import Commits
from pyrallel_consumer.ingress.polling.ending import Ending
from pyrallel_consumer.ingress.polling.reader import Reader
from pyrallel_consumer.ingress.polling.rebalance import Rebalance
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
POLL_SECONDS: Final = 0.02
COMMIT_AGAIN_SECONDS: Final = 0.1
# Committing the same again cannot help; before the close the loop has tried with less metadata.
NEVER_CONFIRMED: Final = FATAL | {"INVALID_COMMIT_OFFSET_SIZE", "OFFSET_METADATA_TOO_LARGE", "UNKNOWN_TOPIC_OR_PART"}


class OrderlyClose:
    """Asks the loop to finish, commits its snapshots until they are confirmed, and releases all; all within bounds."""

    def __init__(
        self,
        *,
        grace_seconds: float,
        rebalance: Rebalance,
        commits: Commits,
        reader: Reader,
        ending: Ending,
        clock: Callable[[], float],
    ) -> None:
        self._grace_seconds = grace_seconds
        self._rebalance = rebalance
        self._commits = commits
        self._reader = reader
        self._ending = ending
        self._clock = clock

    def run(self, client: Consumer, seconds: float) -> None:
        """Takes at most ``seconds``, including the wait for the loop, and ends at once when abandoned."""
        deadline = self._clock() + seconds
        question = self._rebalance.ask_to_close(min(seconds, self._grace_seconds))
        self._poll_until(client, lambda: question.is_answered, question.deadline)
        tps = [tp for tp, _ in question.partitions]
        if question.is_answered:
            self._commit_until_confirmed(client, question.snapshots, deadline)
            self._rebalance.release(tps, "closing")
        elif not self._ending.is_abandoned:
            self._rebalance.drop_unanswered(tps)

    def _commit_until_confirmed(self, client: Consumer, snapshots: Sequence[CommitSnapshot], deadline: float) -> None:
        self._poll_until(client, self._nothing_awaited, deadline)  # an older commit must not land after this one
        remaining = list(snapshots)
        while remaining and self._clock() < deadline and not self._ending.is_abandoned:
            answers: dict[TopicPartition, str | None] = {}
            self._commits.send(client, remaining, answers.update)
            self._poll_until(client, self._nothing_awaited, deadline)
            if self._commits.is_awaited:
                break
            refused = {tp for tp, code in answers.items() if code is not None and code not in NEVER_CONFIRMED}
            remaining = [snapshot for snapshot in remaining if snapshot.tp in refused]
            if remaining:
                self._poll_until(client, lambda: False, min(deadline, self._clock() + COMMIT_AGAIN_SECONDS))
        if remaining:
            LOGGER.error("the last commit of %d partitions was not confirmed in time", len(remaining))

    def _nothing_awaited(self) -> bool:
        return not self._commits.is_awaited

    def _poll_until(self, client: Consumer, holds: Callable[[], bool], deadline: float) -> None:
        while not (holds() or self._ending.is_abandoned) and self._clock() < deadline:
            self._reader.poll_aside(client, POLL_SECONDS)
