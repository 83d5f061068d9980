"""How a client leaves its group: in order, or abandoned because it has lost its brokers. Belongs to the poll thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaException

from pyrallel_consumer.ingress.client.group_client import GroupClient
from pyrallel_consumer.ingress.polling.commits import Commits
from pyrallel_consumer.ingress.polling.ending import Ending
from pyrallel_consumer.ingress.polling.reader import Reader
from pyrallel_consumer.ingress.polling.rebalance import Rebalance
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
POLL_SECONDS: Final = 0.02
LEAVE_SECONDS: Final = 1.0


class Leaving:
    """``grace_seconds`` bounds how long a revocation takes."""

    def __init__(
        self,
        group_client: GroupClient,
        *,
        assignments: Assignments,
        rebalance: Rebalance,
        commits: Commits,
        reader: Reader,
        ending: Ending,
        clock: Callable[[], float],
        grace_seconds: float,
        is_static_member: bool,
    ) -> None:
        self._group_client = group_client
        self._assignments = assignments
        self._rebalance = rebalance
        self._commits = commits
        self._reader = reader
        self._ending = ending
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._is_static_member = is_static_member

    def make_room(self, client: Consumer, *, is_lost: bool) -> None:
        """Give all partitions back, and end the client, because another one joins the group.

        A client that ``is_lost`` is forgotten, not closed: its close waits up to a session timeout for the answer to a
        commit. The caller must not keep it.
        """
        client.unsubscribe()
        deadline = self._clock() + self._grace_seconds
        while len(self._assignments) and self._clock() < deadline and not self._ending.is_abandoned:
            self._reader.poll_aside(client, POLL_SECONDS)
        if is_lost:
            self._rebalance.lose_rest()
        else:
            self.close(client)
        self._commits.client_ended()

    def close(self, client: Consumer) -> None:
        """Leave the group and close.

        If the client has an undelivered assignment when its close begins, it delivers and revokes it inside the close.
        The answer to the assignment ends the group. librdkafka may then lose the revocation and wait for it forever,
        holding the interpreter's lock. So we leave the group before, and serve waiting callbacks. A static member must
        not leave.
        """
        try:
            if not self._is_static_member:
                self._leave(client)
            client.close()
        except Exception as error:  # noqa: BLE001 -- the last act of the thread, with nobody left to raise to
            LOGGER.warning("closing the client: %s", error)

    def _leave(self, client: Consumer) -> None:
        try:
            client.unsubscribe()
        except KafkaException as error:
            LOGGER.debug("the client did not unsubscribe: %s", error)  # after a fatal error there is no group to leave
        # A rebalance under way completes first; with the classic protocol the member's id is empty then.
        deadline = self._clock() + LEAVE_SECONDS
        self._reader.poll_aside(client, 0)
        while self._group_client.protocol == "classic" and client.memberid() and self._clock() < deadline:
            self._reader.poll_aside(client, POLL_SECONDS)
