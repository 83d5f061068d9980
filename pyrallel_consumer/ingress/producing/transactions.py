"""``Transactions``: the producer that owns the transaction, on a thread of its own; one transaction after the other.

A transaction begins when everything that belongs to it is in memory, so it is open for milliseconds. The poll thread
passes it on, with the group's metadata of that moment, and may *disown* it until its commit begins. The outcome of each
is reported once. A commit that timed out is called again. After a fatal error a new producer with the same id resolves
the transaction, and the group's offsets show its outcome.

A request that was late, or was sent again, may still be on its way when the transaction is over. The broker would take
it for one of the next transaction, whose records it could commit: all transactions of one producer have the same epoch
(librdkafka has no KIP-890, its issue 5423). So the next transaction gets a new producer, whose epoch fences it. So does
one after a refused batch: the sequence numbers of that producer's records have a gap, and it may send no more.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from functools import partial
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient

from pyrallel_consumer.control_plane.events import LetterProducerFailed
from pyrallel_consumer.control_plane.output.fencing_watch import FencingWatch
from pyrallel_consumer.control_plane.output.outcome import resolved
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError, ConfigurationError, StateError
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.client_events import ClientLog, GuardedLog
from pyrallel_consumer.ingress.client.client_settings import admin_configuration_of
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.producing.bounded_calls import BoundedCalls
from pyrallel_consumer.ingress.producing.transaction import DISOWNED, Transaction
from pyrallel_consumer.ingress.producing.transaction_records import FENCED, TransactionRecords
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.output")

CALL_SECONDS: Final = 5.0
"""How long one call of the client may take before the thread checks for its end; then it is called again."""
HUNG_SECONDS: Final = 10.0
"""A call that has not returned by then is not waited for: a new producer takes over, and the broker fences this one."""
INSIST_SECONDS: Final = 30.0
"""How long one producer tries the same call again; a new one asks the bootstrap servers anew."""
START_SECONDS: Final = 30.0
"""How long the first ``init_transactions`` may take: it ends a transaction that an earlier producer left open."""
PROMPT_SECONDS: Final = 1.0
"""A call that takes longer may have sent its request twice."""
IDLE_SECONDS: Final = 1.0
PURGE_SECONDS: Final = 1.0
FAREWELL_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.05
MOCK_CLUSTER: Final = "mockCluster"
NO_LEADER_EPOCH: Final = -1
_AWAY: Final = frozenset({"_ALL_BROKERS_DOWN", "_TIMED_OUT", "_TRANSPORT"})


class Transactions:
    """Runs transactions with a producer of this configuration, for the offsets of ``group``.

    ``deliver`` is called on the thread with ``LetterProducerFailed`` should it fail. ``made``, ``committed`` and
    ``aborted`` count transactions; ``open_since`` is when the one under way was begun, in seconds of ``clock``.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any],
        group: str,
        deliver: Callable[[object], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.committed = 0
        self.aborted = 0
        self.clients_made = 0
        self.open_since: float | None = None
        self.client_errors: Counter[str] = Counter()
        self.ended: Future[None] = Future()
        self._configuration = dict(configuration)
        self._group = group
        self._deliver = deliver
        self._clock = clock
        self._throttle = LogThrottle(logger, clock)
        self._fencing = FencingWatch()
        self._given: queue.SimpleQueue[Transaction | None] = queue.SimpleQueue()
        self._is_abandoned = False
        self._is_doubtful = False
        self._is_started = False
        self._started: Future[None] = Future()
        self._client: Producer
        self._thread = threading.Thread(target=self._run, name="pyrallel-transactions", daemon=True)

    @property
    def transactional_id(self) -> str:
        """The id with which the broker identifies this producer, and fences its predecessor."""
        return str(self._configuration["transactional.id"])

    def start(self) -> Future[None]:
        """Start the thread. The future is done when the broker has taken the transactional id.

        It holds a ConfigurationError or a BrokerError if the broker, or its access rules, do not allow that.
        """
        if self._is_started:
            raise StateError("this producer of transactions was started already")
        self._is_started = True
        self._started.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        self._thread.start()
        return self._started

    def put(self, transaction: Transaction) -> None:
        """Run it when those before it have ended. For any thread."""
        self._given.put(transaction)

    def abandon(self) -> None:
        """End as soon as possible; uncommitted transactions get no answer, and the broker aborts them."""
        self._is_abandoned = True
        self._given.put(None)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    # On the thread

    def _run(self) -> None:
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 -- whatever is wrong is start()'s to raise
            self._started.set_exception(_refused_start(error, self.transactional_id))
            self._let_go()
            self.ended.set_result(None)
            return
        self._started.set_result(None)
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: its end must not be silent
            if not self._is_abandoned:
                with contextlib.suppress(RuntimeError):  # The loop is closed: nobody is left to tell.
                    self._deliver(LetterProducerFailed(_translated(error)))
        finally:
            self._let_go()
            self.ended.set_result(None)

    def _begin(self) -> None:
        self._client = self._made()
        deadline = self._clock() + START_SECONDS
        while True:
            try:
                self._refuse_the_embedded_broker()
                self._call("init_transactions", CALL_SECONDS)
            except KafkaException as error:
                cause = error.args[0]
                is_over = self._clock() >= deadline or self._is_abandoned
                if is_over or cause.fatal() or not (cause.retriable() or cause.name() in _AWAY):
                    raise
                time.sleep(AGAIN_SECONDS)
            else:
                return

    def _refuse_the_embedded_broker(self) -> None:
        cluster = self._client.list_topics(timeout=CALL_SECONDS).cluster_id or ""
        if cluster.startswith(MOCK_CLUSTER):
            raise ConfigurationError(
                "OutputConfig.delivery is exactly_once, and this is the embedded broker, whose transactions are wrong: "
                "use a real Apache Kafka, or at_least_once here"
            )

    def _serve(self) -> None:
        while not self._is_abandoned:
            try:
                transaction = self._given.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._client.poll(0)
                continue
            if transaction is not None and not self._is_abandoned:
                self._carry_out(transaction)

    def _carry_out(self, transaction: Transaction) -> None:
        if transaction.is_disowned:
            transaction.end(transaction.failed(DISOWNED))
            return
        self.open_since = self._clock()
        clients, errors = self.clients_made, self.client_errors.total()
        try:
            self._write_and_commit(transaction)
        except KafkaException as error:
            self._give_up(transaction, error.args[0])
        finally:
            self.open_since = None
        is_doubtful = self._is_doubtful or self.client_errors.total() > errors
        if is_doubtful and self.clients_made == clients and not self._is_abandoned:
            self._renew()

    def _write_and_commit(self, transaction: Transaction) -> None:
        self._client.begin_transaction()
        TransactionRecords(self._client, transaction, lambda: self._is_abandoned).write()
        if transaction.is_failing:
            self._abort(transaction, transaction.why)
            return
        offers = [
            ClientPartition(
                each.tp.topic,
                each.tp.partition,
                each.offset,
                each.metadata,
                NO_LEADER_EPOCH if each.leader_epoch is None else each.leader_epoch,
            )
            for each in transaction.snapshots
        ]
        self._insist("send_offsets_to_transaction", offers, transaction.metadata, CALL_SECONDS, until=transaction)
        if not transaction.begin_commit():
            self._abort(transaction, DISOWNED)
            return
        self._insist("commit_transaction", CALL_SECONDS)
        self.committed += 1
        transaction.end(dict.fromkeys((each.tp for each in transaction.snapshots), None))

    # What goes wrong

    def _call(self, name: str, *arguments: Any) -> None:
        """Call this method of the client, which may wait for a broker; a fatal error if it does not return at all."""
        self._calls.make(partial(getattr(self._client, name), *arguments), name, HUNG_SECONDS)

    def _insist(self, name: str, *arguments: Any, until: Transaction | None = None) -> None:
        """Call until it is done, or fails permanently: no new transaction begins before the outcome is known.

        It ends, too, when ``until`` is disowned, or when the same producer has tried for ``INSIST_SECONDS``.
        """
        began_at = self._clock()
        deadline = began_at + INSIST_SECONDS
        while True:
            try:
                self._call(name, *arguments)
            except KafkaException as error:
                self._is_doubtful |= error.args[0].retriable()
                if not error.args[0].retriable() or self._is_abandoned or self._clock() >= deadline:
                    raise
                if until is not None and until.is_disowned:
                    raise
                self._tell_error(error.args[0], "is tried again")
                time.sleep(AGAIN_SECONDS)
            else:
                self._is_doubtful |= self._clock() - began_at > PROMPT_SECONDS
                return

    def _abort(self, transaction: Transaction, code: str) -> None:
        self._insist("abort_transaction", CALL_SECONDS)
        self._is_doubtful |= bool(transaction.refusals) or transaction.failure is not None
        self.aborted += 1
        transaction.end(transaction.failed(code), transaction.refusals)

    def _give_up(self, transaction: Transaction, error: KafkaError) -> None:
        """It failed: abort it, or find out its outcome with a new producer.

        After its commit was asked for, only the group's offsets tell for certain: the broker may have carried it out.
        """
        if self._is_abandoned:
            return
        self._tell_error(error, "failed: it is aborted, or the group's offsets tell what became of it")
        if not (error.fatal() or transaction.is_committing):
            try:
                self._abort(transaction, error.name())
            except KafkaException as again:
                error = again.args[0]
            else:
                return
        self._renew(error)
        ours = {each.tp for each in transaction.snapshots}
        committed = self._committed(ours)
        if committed is not None:
            errors = resolved(transaction.snapshots, committed)
            self.aborted += any(errors.values())
            transaction.end(errors)

    def _renew(self, error: KafkaError | None = None) -> None:
        """Begin with a new producer of the same id: it resolves the old producer's transaction, and fences the old
        producer.

        A producer never writes again after a fatal ``error``.
        """
        while not self._is_abandoned:
            if error is not None and _is_fenced(error) and self._fencing.fenced(self._clock()):
                raise BrokerError(
                    f"the transactional id {self.transactional_id!r} was taken over twice within a minute: another "
                    "producer uses it; give each consumer a group.instance.id or an "
                    "OutputConfig.transactional_id_prefix of its own",
                    code=error.name(),
                )
            self._let_go()
            self._client = self._made()
            try:
                self._insist("init_transactions", CALL_SECONDS)
            except KafkaException as again:
                error = again.args[0]
                if not (error.fatal() or error.retriable()):
                    raise
            else:
                self._is_doubtful = False
                return

    def _committed(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, str]] | None:
        """Offset and metadata of the group, when no transaction is pending on them; None once abandoned."""
        settings = admin_configuration_of(self._configuration) | {"logger": ClientLog(self._clock)}
        asked = [ConsumerGroupTopicPartitions(self._group, [ClientPartition(tp.topic, tp.partition) for tp in tps])]
        while not self._is_abandoned:
            admin = AdminClient(settings)  # A client that has lost its coordinator would not find it again.
            try:
                [future] = admin.list_consumer_group_offsets(
                    asked, require_stable=True, request_timeout=CALL_SECONDS
                ).values()
                answers = future.result(HUNG_SECONDS).topic_partitions
                if all(each.error is None for each in answers):
                    return {
                        TopicPartition(each.topic, each.partition): (each.offset, each.metadata or "")
                        for each in answers
                    }
            except NotInTime:
                logger.debug("the group's offsets were not told within %g s: they are asked for again", HUNG_SECONDS)
            except KafkaException as error:
                self._tell_error(error.args[0], "has an unknown outcome: the group's offsets are asked for again")
            time.sleep(AGAIN_SECONDS)
        return None

    # The client

    def _made(self) -> Producer:
        self.clients_made += 1
        self._calls = BoundedCalls()
        log = GuardedLog(self._configuration.get("logger") or ClientLog(self._clock))
        return Producer(self._configuration | {"logger": log, "error_cb": self._on_error})

    def _on_error(self, error: KafkaError) -> None:
        self.client_errors[error.name()] += 1
        self._throttle.log(
            logging.WARNING,
            error.name(),
            f"the producer of transactions reports: {error.str()} ({error.name()})",
            {"code": error.name()},
        )

    def _tell_error(self, error: KafkaError, then: str) -> None:
        code = error.name()
        self._throttle.log(
            logging.WARNING, f"{code} {then}", f"a transaction {then}: {error.str()} ({code})", {"code": code}
        )

    def _let_go(self) -> None:
        """Forget the producer. Even its last calls may never return, so they are not waited for without a bound."""
        if "_client" in self.__dict__:
            self._calls.end(partial(_farewell, self.__dict__.pop("_client")), FAREWELL_SECONDS)


def _farewell(client: Producer) -> None:
    with contextlib.suppress(KafkaException):
        client.purge()
        client.flush(PURGE_SECONDS)


def _is_fenced(error: KafkaError) -> bool:
    """Whether another producer took the id over; later errors of the client show it only in their text."""
    return error.name() in FENCED or "fenced" in error.str().lower()


def _translated(error: Exception) -> Exception:
    if isinstance(error, KafkaException):
        translated = translate_client_error(error, "writing a transaction")
        translated.__cause__ = error
        return translated
    return error


def _refused_start(error: Exception, transactional_id: str) -> Exception:
    if not isinstance(error, KafkaException):
        return error
    cause = error.args[0]
    translated = translate_client_error(error, f"starting transactions as {transactional_id!r}")
    if cause.name() in {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"}:
        translated = BrokerError(
            f"the broker does not let this consumer use the transactional id {transactional_id!r}: it needs WRITE and "
            "DESCRIBE on that id (or on the prefix OutputConfig.transactional_id_prefix)",
            code=cause.name(),
        )
    translated.__cause__ = error
    return translated
