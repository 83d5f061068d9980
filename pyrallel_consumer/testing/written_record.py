"""A record as it is stored in Kafka, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.message import Headers


@dataclass(frozen=True, slots=True)
class WrittenRecord:
    """A record in Kafka: a dead letter, or a worker's record. ``timestamp`` in milliseconds."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = field(default_factory=list)
    partition: int | None = None
    timestamp: int | None = None

    def header(self, name: str) -> str | None:
        """The last header of this name, as text; None if there is none."""
        values = [value for known, value in self.headers if known == name]
        return None if not values or values[-1] is None else values[-1].decode(errors="replace")
