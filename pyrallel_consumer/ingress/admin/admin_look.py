"""Questions that only an admin client can ask the broker: ends of logs including open transactions, ids and settings of
topics.

The admin client is made for the first question and has its own connections, so a consumer without a reason to ask has
none of them. A question is sent at once and answered later, so no caller waits for it. After a question without an
answer the next one has a new client: the old one may have lost its brokers permanently (``known_brokers`` says how).
Each object belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the client's own typing
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.client_settings import admin_configuration_of
from pyrallel_consumer.ingress.client.forgotten import forget
from pyrallel_consumer.ingress.reading.start_offset import Position
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
POLL_SECONDS: Final = 0.05
_OF_THE_CLIENT: Final = frozenset({"_DESTROY", "_UNSUPPORTED_FEATURE"})
"""Errors that the client makes by itself and that show nothing about brokers."""
QUIET: Final = {"log_level": 0, "error_cb": lambda _: None}
"""The consumer's own client already logs brokers that are away."""


class AdminLook:
    """Asks with the connection settings of the consumer's ``configuration``."""

    def __init__(self, configuration: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self._configuration = configuration
        self._clock = clock
        self._client: AdminClient | None = None
        self._is_doubtful = False
        self._is_refused = False

    def high_watermarks(self, tps: Collection[TopicPartition], seconds: float) -> dict[TopicPartition, Position]:
        """The ends of the logs (exclusive), including records of open transactions; waits for up to ``seconds``.

        Partitions without an answer are left out.
        """
        client = self._client_if_any()
        if client is None:
            return {}
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's own typing
        asked = {ClientPartition(tp.topic, tp.partition): latest for tp in tps}
        answers = client.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=seconds)
        self._watch(answers.values())
        self._wait(client, answers.values(), seconds)
        found = {}
        for place, answer in answers.items():
            end = answered(answer)
            if end is not None:
                found[TopicPartition(place.topic, place.partition)] = Position(end.offset, end.leader_epoch)
        return found

    def stable_ends(self, tps: Collection[TopicPartition], seconds: float) -> Mapping[TopicPartition, Future[Any]]:
        """Ask for the ends of the logs without waiting; an answer has an ``offset``: what can be read ends there."""
        client = self._client_if_any()
        if client is None:
            return {}
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's own typing
        asked = {ClientPartition(tp.topic, tp.partition): latest for tp in tps}
        answers = client.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=seconds)
        self._watch(answers.values())
        return {TopicPartition(place.topic, place.partition): answer for place, answer in answers.items()}

    def topic_ids(self, topics: Collection[str], seconds: float) -> Mapping[str, Future[Any]]:
        """Ask for descriptions, which have a ``topic_id``, without waiting; each answer comes within ``seconds``."""
        client = self._client_if_any()
        if client is None:
            return {}
        answers: Mapping[str, Future[Any]] = client.describe_topics(
            TopicCollection(list(topics)), request_timeout=seconds
        )
        self._watch(answers.values())
        return answers

    def group_settings(self, group: str, seconds: float) -> Future[Any] | None:
        """Ask for the group's settings, by name, without waiting; None if that is not possible."""
        client = self._client_if_any()
        if client is None:
            return None
        asked = ConfigResource(ResourceType.GROUP, group)
        answer: Future[Any] = client.describe_configs([asked], request_timeout=seconds)[asked]
        self._watch([answer])
        return answer

    def committed_offsets(self, group: str, tps: Collection[TopicPartition], seconds: float) -> Future[Any] | None:
        """Ask for the group's offsets without waiting; None if that is not possible.

        In the answer each partition that an open transaction may change has an error.
        """
        client = self._client_if_any()
        if client is None:
            return None
        asked = ConsumerGroupTopicPartitions(group, [ClientPartition(tp.topic, tp.partition) for tp in tps])
        answers = client.list_consumer_group_offsets([asked], require_stable=True, request_timeout=seconds)
        answer: Future[Any] = answers[group]
        return answer

    def wait(self, answers: Collection[Future[Any]], seconds: float) -> None:
        """Wait until these questions are answered, for at most so long."""
        self._wait(self._made_client(), answers, seconds)

    def serve(self) -> None:
        """Let the client call the user's callback for tokens, if it needs one."""
        if self._client is not None:
            self._client.poll(0)

    def renew(self) -> None:
        """Ask the next question with a new client: this one may have lost its brokers, and would not find them again.

        Questions that this one is still asking end without an answer.
        """
        self.close()
        self._is_doubtful = False

    def close(self) -> None:
        """Ask no more questions."""
        if self._client is not None:
            left, self._client = [self._client], None
            forget(left)

    def topic_settings(self, topics: Collection[str], seconds: float) -> dict[str, dict[str, str]]:
        """The settings of these topics by name, including defaults; topics without an answer are left out."""
        found = self._described([ConfigResource(ResourceType.TOPIC, name) for name in topics], seconds)
        answered = {resource.name: answer for resource, answer in found.items() if answer.done()}
        return {name: _values(answer) for name, answer in answered.items() if answer.exception() is None}

    def topic_rights(self, topics: Collection[str], seconds: float) -> dict[str, frozenset[str] | str | None]:
        """By topic: the names of the operations that this user may do, or the name of the broker's error.

        None where the broker does not tell; topics without an answer are left out.
        """
        client = self._made_client()
        asked = TopicCollection(list(topics))
        answers = client.describe_topics(asked, include_authorized_operations=True, request_timeout=seconds)
        self._wait(client, answers.values(), seconds)
        return {name: _rights(answer) for name, answer in answers.items() if answer.done()}

    def creates_topics_itself(self, seconds: float) -> bool | None:
        """As ``creates_topics``, of any broker. Raises KafkaException if none answers."""
        return self.creates_topics(any_broker(self._made_client().list_topics(timeout=seconds)), seconds)

    def creates_topics(self, broker: int, seconds: float) -> bool | None:
        """Whether the brokers create a topic when it is produced to, according to this broker; None if unknown.

        A broker that cannot answer this question is not Apache Kafka: the embedded broker creates topics.
        """
        [answer] = self._described([ConfigResource(ResourceType.BROKER, str(broker))], seconds).values()
        if not answer.done():
            return None
        try:
            return _values(answer).get("auto.create.topics.enable") != "false"
        except KafkaException as error:
            return True if error.args[0].name() == "_UNSUPPORTED_FEATURE" else None

    def _described(self, resources: Sequence[ConfigResource], seconds: float) -> Mapping[ConfigResource, Future[Any]]:
        client = self._made_client()
        answers: Mapping[ConfigResource, Future[Any]] = client.describe_configs([*resources], request_timeout=seconds)
        self._wait(client, answers.values(), seconds)
        return answers

    def _made_client(self) -> AdminClient:
        if self._client is None:
            self._client = AdminClient(admin_configuration_of(self._configuration) | QUIET)
        return self._client

    def _client_if_any(self) -> AdminClient | None:
        """The client, None if the configuration does not allow one: the consumer goes on without it."""
        if self._is_refused:
            return None
        if self._is_doubtful:
            self.renew()
        try:
            return self._made_client()
        except KafkaException as error:
            self._is_refused = True
            LOGGER.warning("no admin client can be made, so topics that are made anew go unnoticed: %s", error)
            return None

    def _watch(self, answers: Collection[Future[Any]]) -> None:
        for answer in answers:
            answer.add_done_callback(self._note)

    def _note(self, answer: Future[Any]) -> None:
        """Called on a thread of the client's, too."""
        error = answer.exception()
        if isinstance(error, KafkaException):
            cause = error.args[0]
            is_of_a_broker = cause.code() > 0
            self._is_doubtful |= not is_of_a_broker and cause.name() not in _OF_THE_CLIENT

    def _wait(self, client: AdminClient, answers: Collection[Future[Any]], seconds: float) -> None:
        deadline = self._clock() + seconds
        while not all(answer.done() for answer in answers) and self._clock() < deadline:
            client.poll(POLL_SECONDS)  # serves the user's callback for tokens, too


def any_broker(found: ClusterMetadata) -> int:
    """The number of a broker. Raises KafkaException if the broker names none, because it is not yet back in its
    cluster.
    """
    if not found.brokers:
        raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))  # noqa: SLF001 -- the client's name
    return min(found.brokers)


def _values(answer: Future[Any]) -> dict[str, str]:
    return {name: entry.value for name, entry in answer.result().items()}


def _rights(answer: Future[Any]) -> frozenset[str] | str | None:
    try:
        operations = answer.result().authorized_operations
    except KafkaException as error:
        return str(error.args[0].name())
    return frozenset(operation.name for operation in operations) if operations else None


def answered(answer: Future[Any]) -> Any:
    """The answer, None if there is none yet or the broker refused."""
    error = answer.exception() if answer.done() else None
    if isinstance(error, KafkaException):  # Raised, it would keep the frames of its callers until the next collection.
        LOGGER.debug("an admin client's question was not answered: %s", error)
        return None
    return answer.result() if answer.done() else None
