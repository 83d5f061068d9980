"""Checks the topics to which workers write, before the first message: each must exist, and this user must write to it.

Only topics that ``OutputConfig.topics`` names are known in advance. If the broker does not answer, nothing is reported:
the first record will show the problem.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException

from pyrallel_consumer.errors import BrokerError, ConfigurationError
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.output")
SECONDS: Final = 10.0
"""How long the start waits for the answers. Without one it goes on: the consumer itself waits for the broker."""
_UNKNOWN: Final = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"})
_ABOUT_TOPICS: Final = _UNKNOWN | {"TOPIC_AUTHORIZATION_FAILED", "TOPIC_EXCEPTION"}


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """``sentence`` for the user. ``is_certain``: records for the topic are refused; else the broker may create it."""

    sentence: str
    is_certain: bool


class OutputTopics:
    """``topics`` are looked for with the connection settings of the producer's ``configuration``."""

    def __init__(self, configuration: Mapping[str, Any], topics: Sequence[str], clock: Callable[[], float]) -> None:
        self._look = AdminLook(configuration, clock)
        self._topics = topics
        self._checked: Future[None] = Future()

    def start(self) -> Future[None]:
        """Check on a thread. The future holds a ConfigurationError if records would certainly be refused."""
        self._checked.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        threading.Thread(target=self._check, name="pyrallel-output-topics", daemon=True).start()
        return self._checked

    def problems(self, seconds: float) -> list[TopicProblem] | None:
        """The problems that the broker reports; None if it did not answer in time. Raises BrokerError."""
        try:
            return self._problems(seconds)
        except KafkaException as error:
            raise translate_client_error(error, "looking for the output topics") from error
        finally:
            self._look.close()

    def _problems(self, seconds: float) -> list[TopicProblem] | None:
        rights = {
            name: told
            for name, told in self._look.topic_rights(self._topics, seconds).items()
            if not isinstance(told, str) or told in _ABOUT_TOPICS
        }
        if not rights:
            return None
        found = []
        missing = [name for name, told in rights.items() if told in _UNKNOWN]
        if missing:
            are_made = self._look.creates_topics_itself(seconds)
            if not are_made:
                unless = "" if are_made is False else " unless the brokers do (auto.create.topics.enable)"
                found = [
                    TopicProblem(
                        f"the output topic {name!r} does not exist, or this user may not see it: create it{unless}, "
                        "grant DESCRIBE and WRITE on it, or correct OutputConfig.topics (environment: OUTPUT_TOPICS)",
                        is_certain=are_made is False,
                    )
                    for name in missing
                ]
        for name, told in rights.items():
            if told == "TOPIC_AUTHORIZATION_FAILED" or (isinstance(told, frozenset) and "WRITE" not in told):
                sentence = f"this user may not write to the output topic {name!r}: grant WRITE and DESCRIBE on it"
                found.append(TopicProblem(sentence, is_certain=True))
            elif told == "TOPIC_EXCEPTION":
                found.append(TopicProblem(f"{name!r} of OutputConfig.topics is no name of a topic", is_certain=True))
        return found

    def _check(self) -> None:
        try:
            problems = self.problems(SECONDS)
        except BrokerError as error:
            LOGGER.warning("%s", error)
            problems = []
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: whatever is wrong is start()'s to raise
            self._checked.set_exception(error)
            return
        if problems is None:
            LOGGER.warning("no broker told of the output topics within %g s: their first records find it out", SECONDS)
        for problem in problems or ():
            if not problem.is_certain:
                LOGGER.warning("%s", problem.sentence)
        certain = [problem.sentence for problem in problems or () if problem.is_certain]
        if certain:
            self._checked.set_exception(ConfigurationError("; ".join(certain)))
        else:
            self._checked.set_result(None)
