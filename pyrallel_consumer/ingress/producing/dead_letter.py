"""``DeadLetterProducer``: produces dead letters and records on its own thread, and returns the broker's answers.

It does not decide when a letter is sent (``letter_queue`` does), and never gives one up silently: every letter gets one
answer, an acknowledgement or an error, until the producer is abandoned. The client is made, used and released on the
thread. The thread is a daemon: it is told to end, and never joined.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pyrallel_consumer.control_plane.events import (
    LetterAnswer,
    LetterProducerFailed,
    LettersAnswered,
    RecordAnswer,
    RecordsAnswered,
)
from pyrallel_consumer.control_plane.failures.letter import UNREADABLE, Letter, record_of
from pyrallel_consumer.control_plane.output.unwritten import Outgoing
from pyrallel_consumer.errors import StateError
from pyrallel_consumer.ingress.client.client_errors import advice_for, translate_client_error
from pyrallel_consumer.ingress.client.client_events import ClientLog, GuardedLog
from pyrallel_consumer.ingress.client.forgotten import forget
from pyrallel_consumer.ingress.client.known_brokers import REPORT_MS, KnownBrokers
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.producing.letter_topics import LetterTopics
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.dead_letters")

SHORTEST_POLL_SECONDS: Final = 0.002
LONGEST_POLL_SECONDS: Final = 0.1
"""Longest time between two polls while letters are under way: polls become rare in a long outage."""
IDLE_SECONDS: Final = 1.0
"""Time between two polls without letters, for the client's own callbacks."""
PURGE_SECONDS: Final = 1.0
BY_KEY: Final = -1


class DeadLetterProducer:
    """Produces what ``produce`` is given, with a client of this configuration.

    ``deliver`` is called on the thread with ``LettersAnswered``, ``RecordsAnswered`` and, should the thread fail,
    ``LetterProducerFailed``; when it raises, because its loop is closed, the thread ends. ``topics_of`` tells which
    dead-letter topics belong to all the topics there are: the user is told when one of them is missing.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any],
        deliver: Callable[[object], None],
        clock: Callable[[], float] = time.monotonic,
        topics_of: Callable[[Iterable[str]], tuple[str, ...]] | None = None,
    ) -> None:
        self._configuration = dict(configuration)
        self._topics = (
            None
            if topics_of is None
            else LetterTopics(self._configuration | {"logger": ClientLog(clock)}, topics_of, clock)
        )
        self._deliver = deliver
        self._clock = clock
        self._throttle = LogThrottle(logger, clock)
        self._given: queue.SimpleQueue[Sequence[Letter | Outgoing]] = queue.SimpleQueue()
        self._is_abandoned = False
        self._is_started = False
        self._started: Future[None] = Future()
        self.ended: Future[None] = Future()
        self._unsent: deque[Letter | Outgoing] = deque()
        self._under_way: set[Letter | Outgoing] = set()
        self._answers: list[LetterAnswer] = []
        self._record_answers: list[RecordAnswer] = []
        self._clients_made = 0
        self._client_errors: Counter[str] = Counter()
        self._client: Producer
        self._client_is_broken = False
        self._known_brokers = KnownBrokers(clock)
        self._thread = threading.Thread(target=self._run, name="pyrallel-dead-letters", daemon=True)

    def start(self) -> Future[None]:
        """Start the thread. The future is done when the client is made, which needs no broker yet.

        It holds a ConfigurationError if the client refuses a setting; then the thread ends.
        """
        if self._is_started:
            raise StateError("this producer of dead letters was started already")
        self._is_started = True
        self._started.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        self._thread.start()
        return self._started

    def produce(self, letters: Sequence[Letter | Outgoing]) -> None:
        """Produce these; returns at once, and an answer follows for each. For the loop's thread."""
        self._given.put(letters)

    def abandon(self) -> None:
        """End as soon as possible; letters that are not acknowledged get no answer."""
        self._is_abandoned = True
        self._given.put(())

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def get_metrics(self) -> dict[str, Any]:
        """Plain numbers since the start, by name. For any thread."""
        return {"clients_made": self._clients_made, "client_errors": dict(self._client_errors)}

    # On the thread

    def _run(self) -> None:
        try:
            self._client = self._made()
        except Exception as error:  # noqa: BLE001 -- whatever the client finds wrong is start()'s to raise
            self._started.set_exception(translate_client_error(error))
            self.ended.set_result(None)
            return
        self._started.set_result(None)
        try:
            self._produce_until_abandoned()
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: its end must not be silent
            if not self._is_abandoned:
                with contextlib.suppress(RuntimeError):  # The loop is closed: no receiver is left.
                    self._deliver(LetterProducerFailed(error))
        finally:
            self._let_go()
            self.ended.set_result(None)

    def _produce_until_abandoned(self) -> None:
        poll_seconds = SHORTEST_POLL_SECONDS
        while not self._is_abandoned:
            if self._topics is not None and not (self._under_way or self._unsent):
                self._topics.look(self._client)
            has_new = self._take_given()
            self._send()
            if has_new:
                poll_seconds = SHORTEST_POLL_SECONDS
            self._serve(poll_seconds if self._under_way or self._unsent else 0.0)
            has_answers = bool(self._answers or self._record_answers)
            poll_seconds = SHORTEST_POLL_SECONDS if has_answers else min(2 * poll_seconds, LONGEST_POLL_SECONDS)
            if self._answers:
                answers, self._answers = self._answers, []
                self._deliver(LettersAnswered(tuple(answers)))
            if self._record_answers:
                record_answers, self._record_answers = self._record_answers, []
                self._deliver(RecordsAnswered(tuple(record_answers)))

    def _take_given(self) -> bool:
        """Take the letters that were given; waits for them if there is nothing else to do."""
        is_idle = not (self._under_way or self._unsent)
        try:
            letters = self._given.get(block=is_idle, timeout=IDLE_SECONDS)
            while True:
                self._unsent.extend(letters)
                letters = self._given.get_nowait()
        except queue.Empty:
            return bool(self._unsent)

    def _send(self) -> None:
        unsent = self._unsent
        while unsent:
            letter = unsent[0]
            try:
                self._produce(letter)
            except BufferError:
                return  # The client's own queue is full: it must be sent first.
            except KafkaException as error:
                unsent.popleft()
                self._answer_with(letter, error.args[0])
            except Exception as error:  # noqa: BLE001 -- a message with parts that cannot be read; the others must go on
                unsent.popleft()
                said = f"the message cannot be read: {type(error).__name__}"
                self._add_answer(letter, UNREADABLE, said)
            else:
                unsent.popleft()
                self._under_way.add(letter)

    def _produce(self, sent: Letter | Outgoing) -> None:
        on_delivery = partial(self._note, sent)
        if type(sent) is Outgoing:
            topic, value, key, headers, partition, timestamp = sent.record
            self._client.produce(
                topic,
                value=value,
                key=key,
                on_delivery=on_delivery,
                headers=list(headers),
                partition=BY_KEY if partition is None else partition,
                timestamp=timestamp or 0,
            )
            return
        assert isinstance(sent, Letter)
        record = record_of(sent)
        self._client.produce(
            sent.topic, value=record.value, key=record.key, on_delivery=on_delivery, headers=[*record.headers]
        )

    def _add_answer(self, sent: Letter | Outgoing, code: str | None, said: str) -> None:
        if isinstance(sent, Outgoing):
            self._record_answers.append(RecordAnswer(sent, code, said))
        else:
            self._answers.append(LetterAnswer(sent, code, said))

    def _serve(self, seconds: float) -> None:
        try:
            self._client.poll(seconds)
        except KafkaException as error:
            self._on_error(error.args[0])
        if self._known_brokers.are_lost:
            logger.warning("the producer has lost all brokers and looks for none any more: a new one takes over")
            self._client_is_broken = True
        if self._client_is_broken:
            self._renew()

    def _note(self, letter: Letter | Outgoing, error: KafkaError | None, _: Message) -> None:
        if letter not in self._under_way:
            return  # It got its answer when its client was given up.
        self._under_way.discard(letter)
        if error is None:
            self._add_answer(letter, None, "")
        else:
            self._answer_with(letter, error)

    def _answer_with(self, letter: Letter | Outgoing, error: KafkaError) -> None:
        self._client_is_broken |= error.fatal() or error.name() == "_FATAL"
        self._add_answer(letter, error.name(), f"{error.str()}{advice_for(error.name())}")

    # The client

    def _made(self) -> Producer:
        self._clients_made += 1
        self._client_is_broken = False
        self._known_brokers.forget()
        log = GuardedLog(self._configuration.get("logger") or ClientLog(self._clock))
        ours = {
            "logger": log,
            "error_cb": self._on_error,
            "stats_cb": self._known_brokers.take,
            "statistics.interval.ms": REPORT_MS,
        }
        return Producer(self._configuration | ours)

    def _on_error(self, error: KafkaError) -> None:
        code = error.name()
        self._client_errors[code] += 1
        self._client_is_broken |= error.fatal()
        self._throttle.log(
            logging.WARNING, code, f"the producer's client reports: {error.str()} ({code})", {"code": code}
        )

    def _renew(self) -> None:
        """Make a new producer, and let the letters of this one be tried again.

        It never produces again after a fatal error, or when it has lost its brokers.
        """
        said = "the client had a fatal error, or had lost all brokers, and was made anew"
        for sent in self._under_way:
            self._add_answer(sent, "_FATAL", said)
        self._under_way.clear()
        self._let_go(is_lost=self._known_brokers.are_lost)
        self._client = self._made()

    def _let_go(self, *, is_lost: bool = False) -> None:
        """Purge unsent letters, so that the client does not wait for them when it ends, and end it here and now.

        The client holds our callbacks. Left to the garbage collector, its threads and connections would outlive
        ``ended``. One that has lost its brokers may never end, so it is not waited for.
        """
        with contextlib.suppress(KafkaException):
            self._client.purge()
            self._client.flush(PURGE_SECONDS)
        if is_lost:
            forget([self.__dict__.pop("_client")])
        else:
            del self._client
