"""Checks dead-letter topics before the first letter: a missing topic that no broker creates is logged at the start.

It runs on the thread that produces letters and does not delay the start. It creates no topic: it lists all topics and
never asks for a single one. If the check is impossible, nothing is logged, and the first letter finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from pyrallel_consumer.ingress.admin.admin_look import AdminLook, any_broker
from pyrallel_consumer.ingress.reading.subscription import LONGEST_NAME
from pyrallel_consumer.log import Log, listed

LOGGER: Final = Log("pyrallel_consumer.dead_letters")
TOPICS_SECONDS: Final = 0.5
SETTINGS_SECONDS: Final = 1.0
MOST_LOOKS: Final = 20

_WAITS: Final = "or messages that fail permanently wait for it, uncommitted, and so do their keys"


class LetterTopics:
    """The dead-letter topics that ``names_of`` derives from all topics; looked for until a broker answers."""

    def __init__(
        self,
        configuration: Mapping[str, Any],
        names_of: Callable[[Iterable[str]], tuple[str, ...]],
        clock: Callable[[], float],
    ) -> None:
        self._configuration = configuration
        self._names_of = names_of
        self._clock = clock
        self._looks_left = MOST_LOOKS

    def look(self, client: Producer) -> None:
        """Look once more, unless the answer is known; takes at most a second and a half, and raises nothing."""
        if not self._looks_left:
            return
        self._looks_left -= 1
        try:
            self._look(client)
        except KafkaException:
            return  # the consumer reports that no broker answers
        except Exception:
            LOGGER.exception("the dead-letter topics could not be looked for")
        self._looks_left = 0

    def _look(self, client: Producer) -> None:
        found = client.list_topics(timeout=TOPICS_SECONDS)
        names = self._names_of(found.topics)
        too_long = [name for name in names if len(name) > LONGEST_NAME]
        self._warn(too_long, "too long a name", "choose a shorter dlq_topic_suffix")
        missing = [name for name in names if name not in found.topics and name not in too_long]
        if not missing:
            return
        are_made = AdminLook(self._configuration, self._clock).creates_topics(any_broker(found), SETTINGS_SECONDS)
        if not are_made:
            unless = "" if are_made is False else " unless the brokers do (auto.create.topics.enable)"
            self._warn(missing, "not there, or may not be seen", f"create it{unless}")

    def _warn(self, names: list[str], state: str, advice: str) -> None:
        if names:
            LOGGER.warning("the dead-letter topic %s is %s: %s, %s", listed(names), state, advice, _WAITS)
