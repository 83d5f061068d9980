"""The meaning of the user's ``topic`` argument: names, or a pattern for the names that the broker knows.

A pattern matches whole names (``^orders`` does not match ``orders-eu``). It never matches a dead-letter topic of this
consumer, because then failed messages would come back forever. Nor does it match Kafka's internal topics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pyrallel_consumer.errors import ConfigurationError

PATTERN_MARK: Final = "^"
TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
LONGEST_NAME: Final = 249
INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics by name, in the order given; or by ``pattern``, and then ``names`` is empty."""

    names: tuple[str, ...]
    pattern: re.Pattern[str] | None = None
    dlq_suffix: str | None = None

    def matching(self, known: Iterable[str]) -> tuple[str, ...]:
        """The topics to subscribe to if the broker knows ``known``: names as given, or the sorted matches."""
        if self.pattern is None:
            return self.names
        return tuple(sorted(name for name in set(known) if self._is_wanted(name, self.pattern)))

    def letter_topics(self, known: Iterable[str], suffix: str) -> tuple[str, ...]:
        """The dead-letter topics of the topics to subscribe to, if the broker knows ``known``."""
        return tuple(f"{name}{suffix}" for name in self.matching(known))

    def _is_wanted(self, name: str, pattern: re.Pattern[str]) -> bool:
        if name in INTERNAL_TOPICS or (self.dlq_suffix and name.endswith(self.dlq_suffix)):
            return False
        return pattern.fullmatch(name) is not None

    def __str__(self) -> str:
        return ", ".join(self.names) if self.pattern is None else self.pattern.pattern


def parse_topic(topic: object, dlq_suffix: str | None) -> Subscription:
    """Read a name, an iterable of names, or a pattern that begins with ``^``.

    ``dlq_suffix`` is None (or empty) if this consumer writes no dead letters. Raises ConfigurationError for anything
    else: no name, a name twice, a name that Kafka refuses, a pattern that is not a regular expression.
    """
    if isinstance(topic, str):
        if topic.startswith(PATTERN_MARK):
            return Subscription((), _compiled(topic), dlq_suffix or None)
        return Subscription((_checked(topic),), None, dlq_suffix or None)
    if isinstance(topic, bytes) or not isinstance(topic, Iterable):
        raise ConfigurationError(f"topic={topic!r}: give a name, a list of names, or a pattern that begins with '^'")
    names = tuple(_checked(name) for name in topic)
    if not names:
        raise ConfigurationError("topic is an empty list: name at least one topic")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"topic names {', '.join(twice)} more than once")
    return Subscription(names, None, dlq_suffix or None)


def check_letter_topics(subscription: Subscription, suffix: str) -> None:
    """Raise ConfigurationError if a topic's name is too long for the suffix of its dead-letter topic."""
    for name in subscription.letter_topics((), suffix):
        if len(name) > LONGEST_NAME:
            raise ConfigurationError(
                f"KafkaConfig.dlq_topic_suffix: the dead-letter topic {name!r} would have a name of {len(name)} "
                f"characters, and Kafka takes {LONGEST_NAME}: choose a shorter suffix, or another on_exhausted than dlq"
            )


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise ConfigurationError(f"topic={name!r}: a topic's name is a string")
    if name.startswith(PATTERN_MARK):
        raise ConfigurationError(f"topic={name!r}: a pattern stands alone, not in a list; join patterns with '|'")
    if name in {".", ".."} or not TOPIC_NAME.fullmatch(name):
        raise ConfigurationError(
            f"topic={name!r} is no name for a topic: 1 to 249 letters, digits, dots, underscores and hyphens; "
            "a pattern begins with '^'"
        )
    return name


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(f"topic={pattern!r} is no regular expression: {error}") from error
