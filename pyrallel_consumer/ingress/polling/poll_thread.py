"""The poll thread: the only place that calls the client, from its construction to its close.

One turn obeys the commands that came, asks the gate, reads ahead once or sleeps, and delivers as many messages as the
loop allows. The thread stamps messages with the epochs of its ``Assignments``. It decides nothing about order, retries
or commits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from pyrallel_consumer.control_plane.events import CoordinatorSilent, PollerClosed, PollerFailed, PollThreadFroze
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.client_events import ClientEvents
from pyrallel_consumer.ingress.client.client_settings import is_cooperative, protocol_of
from pyrallel_consumer.ingress.client.group_client import GroupClient
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.polling.commits import Commits
from pyrallel_consumer.ingress.polling.ending import Ending
from pyrallel_consumer.ingress.polling.fetch_pauses import LOAD, STOPPING, FetchPauses
from pyrallel_consumer.ingress.polling.leaving import Leaving
from pyrallel_consumer.ingress.polling.lookups.group_session import GroupSession
from pyrallel_consumer.ingress.polling.lookups.log_ends import LogEnds
from pyrallel_consumer.ingress.polling.lookups.lost_brokers import LostBrokers
from pyrallel_consumer.ingress.polling.lookups.topic_ids import TopicIds
from pyrallel_consumer.ingress.polling.lookups.topic_lookup import TopicLookup
from pyrallel_consumer.ingress.polling.lookups.unread_logs import UnreadLogs
from pyrallel_consumer.ingress.polling.orderly_close import OrderlyClose
from pyrallel_consumer.ingress.polling.poller_policy import PollerPolicy, refresh_seconds, reset_of
from pyrallel_consumer.ingress.polling.reader import Reader
from pyrallel_consumer.ingress.polling.rebalance import Rebalance
from pyrallel_consumer.ingress.polling.stable_reads import StableReads
from pyrallel_consumer.ingress.polling.starts import StartSearch
from pyrallel_consumer.ingress.polling.transactional_commits import TransactionalCommits
from pyrallel_consumer.ingress.producing.transactions import Transactions
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.coordinator_silence import CoordinatorSilence
from pyrallel_consumer.ingress.reading.fetch_gate import FetchGate, GateState
from pyrallel_consumer.ingress.reading.group_protocol import ProtocolChoice
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.ingress.reading.subscription import Subscription
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
# How long a command may wait while there is nothing to read.
POLL_SECONDS: Final = 0.05
# While paused the client is polled for rebalances only.
PAUSED_POLL_SECONDS: Final = 0.02
# How much longer than the grace the wait for the loop's answer may take: the loop is late, and cancelled work takes
# time.
ANSWER_MARGIN_SECONDS: Final = 1.0


class PollThread:
    """The code of the thread. Other threads only put commands, and write one plain number.

    ``granted`` is how many messages the loop allows in all, since the beginning; ``last_commit`` is the number of the
    last commit that the loop asked for and that was sent. ``boot_clock`` also counts suspended time.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any],
        *,
        subscription: Subscription,
        policy: PollerPolicy,
        deliver: Callable[[object], None],
        clock: Callable[[], float],
        boot_clock: Callable[[], float],
        choice: ProtocolChoice | None = None,
        classic: Mapping[str, Any] | None = None,
        transactions: Transactions | None = None,
    ) -> None:
        self.granted = 0
        self.last_commit = 0
        self.is_held = False
        self.commands: SimpleQueue[Callable[[Consumer], None]] = SimpleQueue()
        self.ending = Ending()
        self._inbox = deliver
        self._is_mute = True
        self._is_over = False
        self._failure: BaseException | None = None
        self._clock = clock
        self._boot_clock = boot_clock
        self._policy = policy
        self._gate = FetchGate()
        throttle = LogThrottle(LOGGER, clock)
        self.assignments = Assignments()
        self.read_ahead = ReadAhead(policy.read_ahead)
        self.pauses = FetchPauses(self.assignments, self.read_ahead, throttle)
        self.log_ends = LogEnds(self.assignments, self.pauses, clock)
        self.commits = (
            Commits(self.assignments, clock, throttle)
            if transactions is None
            else TransactionalCommits(self.assignments, clock, throttle, transactions)
        )
        self.events = ClientEvents(clock, throttle, self._fail_with)
        on_commit = self.commits.on_commit
        self.group_client = GroupClient(
            self.events.installed_in(configuration, on_commit),
            choice or ProtocolChoice(protocol_of(configuration)),
            None if classic is None else self.events.installed_in(classic, on_commit),
        )
        self.reader = Reader(
            self.assignments, self.read_ahead, self.events, clock, self.deliver, log_ends=self.log_ends
        )
        self._admin = AdminLook(configuration, clock)
        self._silence = CoordinatorSilence()
        self._session = GroupSession(self._admin, str(configuration.get("group.id", "")), self._silence)
        self.topic_ids = TopicIds(self._admin, self.assignments, self.events.errors_by_code, clock)
        self._unread = UnreadLogs(self._admin, self.assignments, self.pauses, self.read_ahead, clock)
        self._lost_brokers = LostBrokers(lambda: AdminLook(configuration, clock), self.events.statistics, clock)
        self._is_client_astray = self._has_lost_brokers = False
        answer_seconds = policy.revoke_grace_seconds + ANSWER_MARGIN_SECONDS
        self.rebalance = self._rebalance(configuration, throttle, answer_seconds)
        self._orderly_close = OrderlyClose(
            grace_seconds=answer_seconds,
            rebalance=self.rebalance,
            commits=self.commits,
            reader=self.reader,
            ending=self.ending,
            clock=clock,
        )
        self._leaving = self._made_leaving(configuration, answer_seconds)
        self._lookup = self._topic_lookup(configuration, subscription)

    def run(self, started: Future[None], ended: Future[None]) -> None:
        """The thread's whole life. ``started`` is done with the subscription, or holds its error; ``ended`` is last."""
        try:
            client = self.group_client.make()
            topics = self._lookup.first(client)
            client = self.group_client.checked(client)
            self._subscribe(client, topics)
            if self._failure is not None:
                raise self._failure
        except BaseException as error:  # noqa: BLE001 -- the edge of the thread: start() raises it to the user
            self.ending.abandon()
            started.set_exception(_translated(error, "starting the consumer"))
        else:
            self._is_mute = False
            started.set_result(None)
            del client  # Only one place keeps it, which may forget it.
            self._serve()
        finally:
            if self.group_client.client is not None:
                self._leaving.close(self.group_client.client)
            self._admin.close()
            self.deliver(PollerClosed())
            ended.set_result(None)

    def deliver(self, fact: object) -> None:
        """Deliver a fact to the loop, unless the last fact was delivered. If the loop is gone, the thread ends."""
        if self._is_mute:
            return
        try:
            self._inbox(fact)
        except Exception as error:  # noqa: BLE001 -- a closed loop, or none that works: the edge between two threads
            self._is_mute = True
            self.ending.abandon()
            LOGGER.warning("the event loop takes nothing any more (%s): the poll thread ends without a commit", error)

    # The parts

    def _rebalance(self, configuration: Mapping[str, Any], throttle: LogThrottle, answer_seconds: float) -> Rebalance:
        return Rebalance(
            is_cooperative=is_cooperative(configuration),
            grace_seconds=answer_seconds,
            assignments=self.assignments,
            read_ahead=self.read_ahead,
            starts=self._start_search(configuration, throttle),
            topic_ids=self.topic_ids,
            commits=self.commits,
            pauses=self.pauses,
            ending=self.ending,
            clock=self._clock,
            deliver=self.deliver,
            fail=self._fail,
            settle=self.group_client.settle,
            serve=self.serve_commits if self.commits.is_transactional else None,
            stable=StableReads(self._admin, str(configuration.get("group.id", "")), self._clock)
            if self.commits.is_transactional
            else None,
        )

    def _made_leaving(self, configuration: Mapping[str, Any], answer_seconds: float) -> Leaving:
        return Leaving(
            self.group_client,
            assignments=self.assignments,
            rebalance=self.rebalance,
            commits=self.commits,
            reader=self.reader,
            ending=self.ending,
            clock=self._clock,
            grace_seconds=answer_seconds,
            is_static_member=bool(configuration.get("group.instance.id")),
        )

    def _start_search(self, configuration: Mapping[str, Any], throttle: LogThrottle) -> StartSearch:
        return StartSearch(
            reset_of(configuration),
            is_read_committed=str(configuration.get("isolation.level", "read_committed")) == "read_committed",
            admin=self._admin,
            ending=self.ending,
            clock=self._clock,
            throttle=throttle,
            patience_seconds=self._policy.start_patience_seconds,
        )

    def _topic_lookup(self, configuration: Mapping[str, Any], subscription: Subscription) -> TopicLookup:
        return TopicLookup(
            subscription,
            bootstrap_servers=str(configuration.get("bootstrap.servers", "")),
            may_create=str(configuration.get("allow.auto.create.topics", False)).lower() == "true",
            start_timeout_seconds=self._policy.start_timeout_seconds,
            refresh_seconds=refresh_seconds(configuration, self._policy.pattern_refresh_seconds),
            events=self.events,
            ending=self.ending,
            clock=self._clock,
        )

    # Commands

    def serve_commits(self, client: Consumer) -> None:
        """Carry out the commits that the loop has commanded."""
        coming = self.commits.coming
        while coming:
            command = coming.popleft()
            self.last_commit = command.number
            self.commits.obey(client, command, self.deliver)

    def stop_fetching(self, client: Consumer) -> None:
        """Fetch and deliver nothing more, whatever is granted."""
        self.read_ahead.stop()
        self.pauses.pause_all(client, STOPPING)

    def close(self, client: Consumer, seconds: float) -> None:
        """Let the loop finish, commit its snapshots until they are confirmed, and end."""
        self.stop_fetching(client)
        self._is_over = True
        if len(self.assignments) and not self.ending.is_abandoned:
            self._orderly_close.run(client, seconds)

    # Turns

    def _serve(self) -> None:
        client = self.group_client.client
        assert client is not None, "the subscription was made with it"
        try:
            while not (self._is_over or self.ending.is_abandoned):
                self._turn(client)
                if self.group_client.must_change:
                    self._leaving.close(client)
                    client = self.group_client.changed()
                    self._subscribe(client, self._lookup.topics)
                elif self._has_lost_brokers:
                    self._leaving.make_room(client, is_lost=True)
                    del client
                    self.group_client.forget()
                    self._admin.renew()
                    client = self._joined_anew()
                elif self._is_client_astray:
                    self._leaving.make_room(client, is_lost=False)
                    client = self._joined_anew()
        except BaseException as error:  # noqa: BLE001 -- the edge of the thread: whatever escapes the client is fatal
            self._fail(error)

    def _turn(self, client: Consumer) -> None:
        began_at, rebalances = self._boot_clock(), self.rebalance.count
        self._obey_and_read(client)
        if self._is_over:
            return
        seconds = self._boot_clock() - began_at
        if seconds > self._policy.gap_seconds and rebalances == self.rebalance.count:
            self.deliver(PollThreadFroze(seconds, self.last_commit))
        now = self._clock()
        if len(self.assignments) and self.group_client.protocol == "consumer":
            self._look_at_coordinator(now)
        self.log_ends.look(client, now)
        self.rebalance.begin_late(client, now)
        made_anew = self.topic_ids.look(self.assignments.take_odd() | self.log_ends.take_odd(), now)
        if made_anew:
            self.rebalance.begin_anew(client, made_anew)
        doubted = self.topic_ids.doubted
        self._is_client_astray = bool(doubted) and self._unread.is_client_lost(doubted, now)
        self._has_lost_brokers = self._lost_brokers.is_client_lost(self._lookup.topics, now)
        topics = self._lookup.again(client, now)
        if self.rebalance.must_join_anew:
            self.rebalance.must_join_anew = False
            client.unsubscribe()
            topics = self._lookup.topics
        if topics is not None:
            self._subscribe(client, topics)

    def _look_at_coordinator(self, now: float) -> None:
        """With the classic protocol the client itself notices that its session is over."""
        self._session.look(now)
        seconds = self._silence.look(now, self.commits.awaited_since)
        if seconds:
            self.deliver(CoordinatorSilent(seconds, self.last_commit))

    def _joined_anew(self) -> Consumer:
        """Another client, which joins the group; the last one has ended."""
        self.topic_ids.trust()
        self._unread.forget()
        client = self.group_client.make()
        self._subscribe(client, self._lookup.topics)
        return client

    def _obey_and_read(self, client: Consumer) -> None:
        commands = self.commands
        while not commands.empty():
            commands.get()(client)
            if self._is_over:
                return
        now = self._clock()
        room = self.read_ahead.room
        state = self._gate.step(room, now, len(self.assignments))
        if state is GateState.READ:
            self.pauses.resume_all(client, LOAD)
            self._read(client, min(room, self._policy.poll_batch_size), POLL_SECONDS)
        elif state is GateState.HOLD:
            self._hold(client, self._gate.hold_remaining(now))
        else:
            self.pauses.pause_all(client, LOAD)
            self._read(client, 1, PAUSED_POLL_SECONDS)
        self.reader.hand_on(self._credit)

    @property
    def _credit(self) -> int:
        return self.granted - self.reader.messages

    def _read(self, client: Consumer, limit: int, seconds: float) -> None:
        """Read. Wait for the client only if there is nothing else to do, because a grant cannot end that wait."""
        if not self.read_ahead.has_ready:
            self.reader.read(client, limit, seconds)
        elif not self.reader.read(client, limit, 0):
            self._hold(client, seconds)

    def _hold(self, client: Consumer, seconds: float) -> None:
        """Sleep until there is a command, or messages may be delivered."""
        self.is_held = True  # from here on grant() puts a command, which ends the sleep
        try:
            if self._credit > 0 and self.read_ahead.has_ready:
                return
            command = self.commands.get(timeout=seconds)
        except Empty:
            return
        finally:
            self.is_held = False
        command(client)

    def _subscribe(self, client: Consumer, topics: Sequence[str]) -> None:
        if topics:
            self.topic_ids.expect(topics, self._clock())
            rebalance = self.rebalance
            client.subscribe(
                list(topics), on_assign=rebalance.on_assign, on_revoke=rebalance.on_revoke, on_lost=rebalance.on_lost
            )
        else:
            client.unsubscribe()

    # The end

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self.deliver(PollerFailed(_translated(error, "reading")))
            self._is_mute = True
            self.ending.abandon()

    def _fail_with(self, error: KafkaError) -> None:
        if self.group_client.is_refusal(error):
            return  # before anything was assigned; the next turn joins with another client
        self._fail(KafkaException(error))


def _translated(error: BaseException, doing: str) -> BaseException:
    if isinstance(error, KafkaException):
        translated = translate_client_error(error.args[0], doing)
        translated.__cause__ = error
        return translated
    return error
