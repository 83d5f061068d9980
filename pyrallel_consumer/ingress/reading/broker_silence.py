"""Whether any broker of the cluster answers, decided from the client's report of its connections. Pure.

An outage is the silence of all brokers: a single absent broker, even the group's coordinator, is not an outage. An idle
consumer sends requests all the time (fetches, heartbeats), so a healthy connection is never silent for long. With a
frozen broker, or a network that drops packets, connections stay open: then only the silence shows the outage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SILENT_SECONDS = 10.0
"""Silence of this length is an outage: longer than the time between heartbeats; a look every 2.5 s finds it in 15 s."""


class Connection(NamedTuple):
    """One connection of the client. ``silent_seconds`` is None if nothing has been received on it.

    ``is_asked``: a request waits for its answer. ``is_coordinator``: the connection leads to the group's coordinator.
    """

    is_up: bool
    is_asked: bool
    silent_seconds: float | None
    is_coordinator: bool = False


class BrokerSilence:
    """Looks at all connections now and then. ``seconds`` is the length of the silence at the last look."""

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self._heard_at = now

    @property
    def is_connected(self) -> bool:
        """Whether any broker answers."""
        return self.seconds <= SILENT_SECONDS

    def look(self, now: float, connections: Iterable[Connection], *, is_joining: bool) -> None:
        """These are the connections at ``now``. ``is_joining``: the group has not assigned partitions yet.

        The coordinator then answers only when all members have joined, which takes a session timeout if one has died.
        """
        seen = list(connections)
        up = [each for each in seen if each.is_up]
        asked = [each for each in up if each.is_asked and not (is_joining and each.is_coordinator)]
        if up and not asked:
            self._heard_at = now  # No request is open, so no broker can be silent.
        spans = [each.silent_seconds for each in seen if each.silent_seconds is not None]
        if spans:
            self._heard_at = max(self._heard_at, now - min(spans))
        self.seconds = max(0.0, now - self._heard_at)
