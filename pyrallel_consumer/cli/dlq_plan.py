"""Which dead-letter topic a command is about. Light: the command line loads it always."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_REPLAYS: Final = 5
"""A message that comes back so often is not helped by another replay."""


@dataclass(frozen=True, slots=True)
class Where:
    """The options that all commands share. At most one of ``topic`` and ``dlq_topic`` is given."""

    topic: str | None
    dlq_topic: str | None
    bootstrap_servers: str | None
    group: str | None
    filters: tuple[str, ...] = ()

    def topic_name(self, suffix: str) -> str | None:
        """The dead-letter topic that is meant, None for all there are."""
        return f"{self.topic}{suffix}" if self.topic is not None else self.dlq_topic

    def group_of(self, dlq_topic: str) -> str:
        """The group in which replays of the topic are noted: the same for whoever replays, whatever the environment."""
        return self.group or f"{dlq_topic}.replay"
