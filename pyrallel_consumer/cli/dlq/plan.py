"""Which dead-letter topic a command is about. Light, because the command line always loads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_REPLAYS: Final = 5
"""Another replay does not help a message that came back this often."""
MOST_LISTED: Final = 1000
"""How many letters ``dlq list --letters`` lists by default; ``--limit`` changes it."""


@dataclass(frozen=True, slots=True)
class Where:
    """The options that all commands share. At most one of ``topic`` and ``dlq_topic`` is given.

    ``group`` is the consumer group whose letters are selected, None for all; ``replay_group`` is where replays are
    noted.
    """

    topic: str | None
    dlq_topic: str | None
    bootstrap_servers: str | None
    group: str | None
    filters: tuple[str, ...] = ()
    replay_group: str | None = None

    def topic_name(self, suffix: str) -> str | None:
        """The selected dead-letter topic, None for all."""
        return f"{self.topic}{suffix}" if self.topic is not None else self.dlq_topic

    def source_topic(self, suffix: str) -> str | None:
        """The topic whose letters are in the selected dead-letter topic; None if its name does not show it."""
        if self.topic is not None or self.dlq_topic is None:
            return self.topic
        return self.dlq_topic.removesuffix(suffix) if suffix and self.dlq_topic.endswith(suffix) else None

    def hint(self, suffix: str) -> str:
        """What an error about a missing topic adds: whether ``--topic`` named a dead-letter topic."""
        if self.topic is None or not suffix or not self.topic.endswith(suffix):
            return ""
        return f"; if {self.topic!r} is the dead-letter topic itself, give it as --dlq-topic"

    def replay_group_of(self, dlq_topic: str) -> str:
        """The group in which replays of the topic are committed: the same for every user and environment."""
        return self.replay_group or f"{dlq_topic}.replay"
