"""Whether any broker of the cluster answers, decided from what the client tells of its connections. Pure.

A total outage is silence of all of them: one broker that is away, or the group's coordinator alone, is none. An idle
consumer asks all the time (fetches, heartbeats), so a healthy connection is never silent for long. A frozen broker, or
a network that swallows packets, keeps connections open: then only the silence tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SILENT_SECONDS = 10.0
"""So long nobody has answered: longer than heartbeats lie apart, and noticed within 15 s by a look every 2.5 s."""


class Connection(NamedTuple):
    """One connection of the client. ``silent_seconds`` is None where nothing has been received on it.

    ``is_asked``: a request waits for its answer. ``is_coordinator``: it is the one to the group's coordinator.
    """

    is_up: bool
    is_asked: bool
    silent_seconds: float | None
    is_coordinator: bool = False


class BrokerSilence:
    """Looks at all connections once in a while. ``seconds`` is how long nobody had answered at the last look."""

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self._heard_at = now

    @property
    def is_connected(self) -> bool:
        """Whether any broker answers."""
        return self.seconds <= SILENT_SECONDS

    def look(self, now: float, connections: Iterable[Connection], *, is_joining: bool) -> None:
        """These are the connections at ``now``. ``is_joining``: the group has not given this member its part yet.

        Its coordinator then answers when all members have joined, which takes a session timeout where one has died.
        """
        seen = list(connections)
        up = [each for each in seen if each.is_up]
        asked = [each for each in up if each.is_asked and not (is_joining and each.is_coordinator)]
        if up and not asked:
            self._heard_at = now  # Nobody is asked anything, so nobody can be silent.
        spans = [each.silent_seconds for each in seen if each.silent_seconds is not None]
        if spans:
            self._heard_at = max(self._heard_at, now - min(spans))
        self.seconds = max(0.0, now - self._heard_at)
