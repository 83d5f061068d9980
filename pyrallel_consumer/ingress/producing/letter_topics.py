"""Dead-letter topics before the first letter: one that is not there and will not be made is told at the start.

Looks from the thread that produces letters, beside the start and not in it, and creates nothing: a topic is only asked
for among all others. What cannot be asked is not told; the first letter finds it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.reading.subscription import LONGEST_NAME
from pyrallel_consumer.log import Log, listed

LOGGER: Final = Log("pyrallel_consumer.dead_letters")
TOPICS_SECONDS: Final = 0.5
SETTINGS_SECONDS: Final = 1.0
MOST_LOOKS: Final = 20

_WAITS: Final = "or messages that fail for good wait for it, with their keys and uncommitted"


class LetterTopics:
    """The dead-letter topics that ``names_of`` tells of all the topics there are; looked for until somebody answers."""

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
        """Look once more, unless it is known by now; takes at most a second and a half, and raises nothing."""
        if not self._looks_left:
            return
        self._looks_left -= 1
        try:
            self._look(client)
        except KafkaException:
            return  # the consumer says that nobody answers
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
        are_made = AdminLook(self._configuration, self._clock).creates_topics(min(found.brokers), SETTINGS_SECONDS)
        if not are_made:
            unless = "" if are_made is False else " unless the brokers do (auto.create.topics.enable)"
            self._warn(missing, "not there, or may not be seen", f"create it{unless}")

    def _warn(self, names: list[str], state: str, advice: str) -> None:
        if names:
            LOGGER.warning("the dead-letter topic %s is %s: %s, %s", listed(names), state, advice, _WAITS)
