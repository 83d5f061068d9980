"""Whether a client has lost all its brokers permanently, decided from its statistics. No I/O.

librdkafka forgets all brokers when one answers with topics and no brokers, as a broker does that is not yet, or no
longer, in its cluster, and the connection to it ends at that moment. Then it never asks a bootstrap server again (its
issue 5301). Only another client helps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

LOST_SECONDS: Final = 3.0
"""How long a client is without brokers before they are lost: it returns to its bootstrap servers at once, or never."""
REPORT_MS: Final = 2_500
"""How often a client must report."""
_TO_CONNECT_TO: Final = frozenset({"configured", "learned"})
_JSON: Final = json.JSONDecoder()


class KnownBrokers:
    """``are_lost``: the client knew no broker for long, not even the bootstrap servers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._none_since: float | None = None
        self.are_lost = False

    def take(self, report: str) -> None:
        """A report of the client's, as JSON."""
        self.look(part_of(report, report.find('"brokers":')))

    def look(self, brokers: Mapping[str, Any] | None) -> None:
        """These brokers, by name, are in the client's report; None if it does not tell."""
        if brokers is None or any(each["source"] in _TO_CONNECT_TO for each in brokers.values()):
            self.forget()
            return
        now = self._clock()
        if self._none_since is None:
            self._none_since = now
        self.are_lost = now - self._none_since >= LOST_SECONDS

    def forget(self) -> None:
        """Another client reports from now on."""
        self._none_since = None
        self.are_lost = False


def part_of(report: str, at: int) -> dict[str, Any] | None:
    """The object under the name at position ``at`` of a report; None if the position is negative."""
    if at < 0:
        return None
    found, _ = _JSON.raw_decode(report, report.index("{", at))
    return dict(found)
