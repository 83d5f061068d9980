"""``BrokerPoller``: the loop's handle on the poll thread. All methods return at once and may be called by any thread.

Facts come back through ``deliver``, in the order in which they happened. The thread is a daemon. It is asked to end; if
it does not, it is abandoned. It is never joined.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import Consumer

from pyrallel_consumer.control_plane.events import Commit, Pause, Resume
from pyrallel_consumer.errors import StateError
from pyrallel_consumer.ingress.polling.poll_thread import PollThread
from pyrallel_consumer.ingress.polling.poller_policy import PollerPolicy
from pyrallel_consumer.ingress.producing.transactions import Transactions
from pyrallel_consumer.ingress.reading.group_protocol import ProtocolChoice
from pyrallel_consumer.ingress.reading.subscription import Subscription

__all__ = ["BrokerPoller", "PollerPolicy"]


class BrokerPoller:
    """Reads the topics of ``subscription`` as a member of the configured group, on a thread of its own.

    ``deliver`` is called on that thread with each fact. If it raises, because its loop is closed, the thread ends
    without a commit. ``clock`` stamps ``last_poll_at``; ``boot_clock`` also counts suspended time.
    ``choice`` is the group protocol of ``configuration``. If it may change, ``classic`` is the configuration for the
    other protocol.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any],
        *,
        subscription: Subscription,
        deliver: Callable[[object], None],
        policy: PollerPolicy,
        clock: Callable[[], float] = time.monotonic,
        choice: ProtocolChoice | None = None,
        classic: Mapping[str, Any] | None = None,
        boot_clock: Callable[[], float] | None = None,
        transactions: Transactions | None = None,
    ) -> None:
        self._inner = PollThread(
            configuration,
            subscription=subscription,
            policy=policy,
            deliver=deliver,
            clock=clock,
            choice=choice,
            classic=classic,
            boot_clock=boot_clock or clock,
            transactions=transactions,
        )
        self._started: Future[None] = Future()
        self._is_started = False
        self.ended: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._inner.run, args=(self._started, self.ended), name="pyrallel-poller", daemon=True
        )

    def start(self) -> Future[None]:
        """Start the thread. The future is done when the thread has subscribed; else it holds the error.

        The errors: ConfigurationError (a setting the client refuses), BrokerUnreachableError, AuthenticationError,
        UnknownTopicError, BrokerError. After one of them the thread ends without delivering any fact.
        """
        if self._is_started:
            raise StateError("this poller was started already")
        self._is_started = True
        self._started.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        self._thread.start()
        return self._started

    def grant(self, total: int) -> None:
        """Allow ``total`` messages to be delivered, counted from the start. The thread is woken only if it rises."""
        inner = self._inner
        is_more = total > inner.granted
        inner.granted = total
        if is_more and inner.is_held:
            inner.commands.put(_wake)

    def commit(self, command: Commit) -> None:
        """Commit its entries that are still assigned when its turn comes; ``CommitAnswered`` follows."""
        self._inner.commits.coming.append(command)
        self._inner.commands.put(self._inner.serve_commits)

    def pause(self, command: Pause) -> None:
        """Fetch no more of a partition until ``resume``, or until it is assigned again."""
        self._inner.commands.put(partial(self._pause, command))

    def resume(self, command: Resume) -> None:
        """Take a ``pause`` back."""
        self._inner.commands.put(partial(self._resume, command))

    def stop_fetching(self) -> None:
        """Fetch nothing more; polling, commits and rebalances go on until ``close``."""
        self._inner.commands.put(self._inner.stop_fetching)

    def close(self, seconds: float) -> None:
        """Ask the loop to finish (``RevokeAsked``), commit its snapshots, leave the group, deliver ``PollerClosed``.

        ``seconds`` bounds the wait for the answer and for the broker's confirmation.
        """
        self._inner.ending.ask()
        self._inner.commands.put(lambda client: self._inner.close(client, seconds))

    def abandon(self) -> None:
        """End as soon as possible and commit nothing."""
        self._inner.ending.abandon()
        self._inner.commands.put(_wake)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def group_protocol(self) -> str:
        """``classic`` or ``consumer``: the one in use, or being tried."""
        return self._inner.group_client.protocol

    def get_metrics(self) -> dict[str, Any]:
        """Plain numbers since the start, by name; ``last_poll_at`` in seconds of the clock."""
        inner = self._inner
        return {
            "polls": inner.reader.polls,
            "reads": inner.reader.reads,
            "messages": inner.reader.messages,
            "messages_read_ahead": inner.read_ahead.messages,
            "last_poll_at": inner.reader.last_poll_at,
            "rebalances": inner.rebalance.count,
            "assigned_partitions": len(inner.assignments),
            "topics_known_by_id": inner.topic_ids.known,
            "commits_sent": inner.commits.sent,
            "commit_failures": dict(inner.commits.failed_by_code),
            "commit_durations": inner.commits.durations.taken(),
            "log_end_offsets": dict(inner.log_ends.offsets),
            "client_errors": dict(inner.events.errors_by_code),
            "waiting_since": inner.rebalance.waiting_since(),
            "is_broker_connected": inner.events.statistics.silence.is_connected,
            "broker_silent_seconds": inner.events.statistics.silence.seconds,
        }

    # On the poll thread

    def _pause(self, command: Pause, client: Consumer) -> None:
        if self._inner.assignments.is_current(command.tp, command.epoch):
            self._inner.pauses.pause(client, command.tp)

    def _resume(self, command: Resume, client: Consumer) -> None:
        if self._inner.assignments.is_current(command.tp, command.epoch):
            self._inner.pauses.resume(client, command.tp)


def _wake(_: Consumer) -> None:
    """Nothing to do but to look again."""
