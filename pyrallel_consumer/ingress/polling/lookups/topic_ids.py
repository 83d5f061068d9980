"""Whether the assigned topics still exist: a topic that is deleted and created again keeps its name and gets a new id.

The ids are asked for with every assignment and after every suspicious sign: the end of a log fell, offsets or leader
epochs of records went back, or the client does not know the topic. They are also asked for rarely without a sign,
because a new log that is longer than the read part of the old one shows none. Nothing waits for an answer. Belongs to
the poll thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, Final

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook, answered
from pyrallel_consumer.ingress.reading.assignments import Assignments

LOOK_EVERY_SECONDS: Final = 0.25
ASK_EVERY_SECONDS: Final = 30.0
SUSPICION_SECONDS: Final = 5.0
"""How long the id of a suspicious topic is requested: brokers learn of a new topic one after the other."""
BETWEEN_QUESTIONS_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
FORGET_SECONDS: Final = 60.0
UNKNOWN_TOPIC: Final = ("UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID")


class TopicIds:
    """``errors_by_code`` counts the client's errors."""

    def __init__(
        self, admin: AdminLook, assignments: Assignments, errors_by_code: Counter[str], clock: Callable[[], float]
    ) -> None:
        self._admin = admin
        self._assignments = assignments
        self._errors_by_code = errors_by_code
        self._known: dict[str, str] = {}
        self._changed: dict[str, str] = {}
        self._confirmed_epochs: dict[str, int] = {}
        self._changed_epochs: dict[str, int] = {}
        self._assigned_at: dict[str, float] = {}
        self._odd_until: dict[str, float] = {}
        self._latest_epoch = 0
        self._errors = 0
        self._look_at = clock()
        self._ask_at = clock()
        self._answers: Mapping[str, Future[Any]] = {}
        self._asked_at_epoch = 0
        self._seen: dict[str, str] = {}
        self.doubted: set[str] = set()
        """Topics that were created again, or not known to a broker, since the client was made: it may look for their
        leaders where those of the old topics were.
        """

    @property
    def known(self) -> int:
        """Topics whose ids are known: if one is created again from now on, that is noticed."""
        return len(self._known)

    def expect(self, topics: Collection[str], now: float) -> None:
        """These topics may be assigned from now on: learn their ids before any message of them is read."""
        self._assigned_at |= dict.fromkeys(topics, now)
        if topics and not self._answers:
            self._send(topics)

    def trust(self) -> None:
        """Another client reads from now on, which knows nothing of old topics."""
        self._seen.clear()
        self.doubted.clear()

    def look(self, odd: Collection[TopicPartition], now: float) -> set[TopicPartition]:
        """The partitions whose old log was read and whose new log is not begun; ``odd`` partitions showed a sign.

        They are returned again and again until they have begun again.
        """
        for tp in odd:
            self._suspect(tp.topic, now)
        if now < self._look_at:
            return set()
        self._look_at = now + LOOK_EVERY_SECONDS
        topics = self._assigned_topics(now)
        errors = sum(self._errors_by_code[code] for code in UNKNOWN_TOPIC)
        latest_epoch = self._assignments.latest_epoch
        if errors != self._errors:
            self.doubted.update(self._assigned_at)
        if errors != self._errors or latest_epoch != self._latest_epoch:
            self._errors, self._latest_epoch = errors, latest_epoch
            for topic in topics:
                self._suspect(topic, now)
        self.hear(now)
        self._ask(topics, now)
        return self._to_begin_anew()

    def hear(self, now: float) -> None:
        """Take in the answers that have come: partitions assigned from now on belong to these or to later logs."""
        if not self._answers:
            return
        self._admin.serve()
        if not all(answer.done() for answer in self._answers.values()):
            return
        answers, self._answers = self._answers, {}
        for topic, answer in answers.items():
            description = answered(answer)
            found = None if description is None else description.topic_id
            if found is not None:
                self._note(topic, str(found))
        self._odd_until = {topic: until for topic, until in self._odd_until.items() if until > now}

    def _suspect(self, topic: str, now: float) -> None:
        if topic not in self._odd_until:
            self._ask_at = min(self._ask_at, now)
        self._odd_until[topic] = now + SUSPICION_SECONDS

    def _assigned_topics(self, now: float) -> set[str]:
        """The topics with assigned partitions; topics without any for a while are forgotten."""
        topics = {tp.topic for tp in self._assignments}
        self._assigned_at |= dict.fromkeys(topics, now)
        for topic in [topic for topic, at in self._assigned_at.items() if now - at > FORGET_SECONDS]:
            del self._assigned_at[topic]
            for book in (self._known, self._changed, self._confirmed_epochs, self._changed_epochs, self._odd_until):
                book.pop(topic, None)
        return topics

    def _ask(self, topics: set[str], now: float) -> None:
        if self._answers or now < self._ask_at or not topics:
            return
        self._ask_at = now + (BETWEEN_QUESTIONS_SECONDS if self._odd_until else ASK_EVERY_SECONDS)
        self._send(topics)

    def _send(self, topics: Collection[str]) -> None:
        self._asked_at_epoch = self._assignments.latest_epoch
        self._answers = self._admin.topic_ids(topics, ANSWER_SECONDS)

    def _note(self, topic: str, found: str) -> None:
        if self._seen.setdefault(topic, found) != found:
            self.doubted.add(topic)
        known = self._known.setdefault(topic, found)
        if known == found:
            # Offsets that went back after the request may belong to the new log, because the answer may be older.
            self._confirmed_epochs[topic] = self._asked_at_epoch
        elif self._changed.get(topic) != found:
            # Of an assignment before this answer nobody knows whether it began in the old log or in the new one. It
            # begins again: some messages run twice, and none is skipped.
            if topic in self._changed:
                self._confirmed_epochs[topic] = self._assignments.latest_epoch  # These are of the log in between.
            self._changed[topic] = found
            self._changed_epochs[topic] = self._assignments.latest_epoch

    def _to_begin_anew(self) -> set[TopicPartition]:
        left: set[TopicPartition] = set()
        for topic, found in list(self._changed.items()):
            if topic not in {tp.topic for tp in self._assignments}:
                continue  # It may come back, from an offset that was committed before the new log was noticed.
            since, found_at = self._confirmed_epochs.get(topic, 0), self._changed_epochs[topic]
            of_topic = {
                tp
                for tp in self._assignments
                if tp.topic == topic and not self._assignments.has_begun(tp, since, assigned_after=found_at)
            }
            left |= of_topic
            if not of_topic:
                self._known[topic] = found
                self._confirmed_epochs[topic] = self._assignments.latest_epoch
                del self._changed[topic]
        return left
