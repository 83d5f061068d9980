"""Which topics exist: the broker is asked before subscribing, and for a pattern from time to time.

From the first look a consumer also learns that no broker answers, that its credentials are refused, or that a topic
does not exist. So the start fails with the right error, and quickly if waiting cannot help. For the poll thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from pyrallel_consumer.errors import BrokerUnreachableError, StateError, UnknownTopicError
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.client_events import ClientEvents
from pyrallel_consumer.ingress.client.error_kinds import is_fatal, is_refusal
from pyrallel_consumer.ingress.polling.ending import Ending
from pyrallel_consumer.ingress.reading.subscription import Subscription
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
FIRST_TIMEOUT_SECONDS: Final = 0.5
# The poll thread does nothing else during a later look, so the look is short; the next one may succeed.
LATER_TIMEOUT_SECONDS: Final = 1.0
# A topic that was just created is unknown to some brokers for a moment.
UNKNOWN_FOR_SECONDS: Final = 1.0
BETWEEN_TRIES_SECONDS: Final = 0.1


class TopicLookup:
    """Looks up topics for one subscription. ``may_create``: asking for a topic creates it, so no topic is unknown.

    ``topics`` are the topics of the last lookup.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        bootstrap_servers: str,
        may_create: bool,
        start_timeout_seconds: float,
        refresh_seconds: float,
        events: ClientEvents,
        ending: Ending,
        clock: Callable[[], float],
    ) -> None:
        self._subscription = subscription
        self._bootstrap_servers = bootstrap_servers
        self._may_create = may_create
        self._start_timeout_seconds = start_timeout_seconds
        self._refresh_seconds = refresh_seconds
        self._events = events
        self._ending = ending
        self._clock = clock
        self._next_look_at = float("inf")
        self.topics: tuple[str, ...] = ()

    def first(self, client: Consumer) -> tuple[str, ...]:
        """The topics to subscribe to; none if a pattern matches nothing yet.

        Raises:
            BrokerUnreachableError: no broker answered in time.
            AuthenticationError, UnknownTopicError, BrokerError: the broker refused, and would again.
            StateError: the poll thread was told to end meanwhile.
        """
        deadline = self._clock() + self._start_timeout_seconds
        if self._subscription.pattern is None:
            for name in self._subscription.names:
                self._check(client, name, deadline)
            self.topics = self._subscription.names
        else:
            known = self._listed(client, None, deadline).topics
            self.topics = self._subscription.matching(known)
            self._next_look_at = self._clock() + self._refresh_seconds
            if not self.topics:
                LOGGER.warning("no topic matches %s yet; looking again from time to time", self._subscription)
        return self.topics

    def again(self, client: Consumer, now: float) -> tuple[str, ...] | None:
        """The topics to subscribe to from now on, if a look is due and they have changed; else None."""
        if now < self._next_look_at:
            return None
        self._next_look_at = self._clock() + self._refresh_seconds
        try:
            known = client.list_topics(timeout=LATER_TIMEOUT_SECONDS).topics
        except KafkaException as error:
            self._events.note(error.args[0], "looking for topics that match the pattern")
            return None
        topics = self._subscription.matching(known)
        if topics == self.topics:
            return None
        LOGGER.info("%s now matches: %s", self._subscription, ", ".join(topics) or "no topic")
        self.topics = topics
        return topics

    def _check(self, client: Consumer, name: str, deadline: float) -> None:
        unknown_until = min(deadline, self._clock() + UNKNOWN_FOR_SECONDS)
        while True:
            error: KafkaError | None = self._listed(client, name, deadline).topics[name].error
            if error is None:
                return
            if is_fatal(error):
                raise translate_client_error(error, f"looking up topic {name!r}")
            if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART or self._may_create:
                return  # it exists, and lacks a leader at the moment; or it is being created
            if self._clock() >= unknown_until:
                raise UnknownTopicError(
                    f"topic {name!r} does not exist at {self._bootstrap_servers}: create it, or correct its name",
                    code="UNKNOWN_TOPIC_OR_PART",
                )
            self._pause()

    def _listed(self, client: Consumer, name: str | None, deadline: float) -> Any:
        timeout = FIRST_TIMEOUT_SECONDS
        while True:
            remaining = max(0.0, deadline - self._clock())
            try:
                return client.list_topics(name, timeout=min(timeout, remaining))
            except KafkaException as raised:
                error: KafkaError = raised.args[0]
                client.poll(0)  # lets the client say why
                self._raise_where_final(error, raised)
                if self._clock() >= deadline:
                    raise self._unreachable(error) from raised
            self._pause()
            timeout *= 2

    def _raise_where_final(self, error: KafkaError, cause: KafkaException) -> None:
        refusal = error if is_refusal(error) else self._events.refusal
        if refusal is not None:
            raise translate_client_error(refusal, f"connecting to {self._bootstrap_servers}") from cause
        if is_fatal(error):
            raise translate_client_error(error, "looking up topics") from cause

    def _unreachable(self, error: KafkaError) -> BrokerUnreachableError:
        why = self._events.last_error or error
        return BrokerUnreachableError(
            f"no broker of {self._bootstrap_servers} answered within {self._start_timeout_seconds:g} s; "
            f"the last error was: {why.str()}; check bootstrap_servers, and that security_protocol is the listener's",
            code=error.name(),
            retriable=True,
        )

    def _pause(self) -> None:
        if self._ending.wait_asked(BETWEEN_TRIES_SECONDS):
            raise StateError("the consumer was stopped while it started")
