"""The client's statistics: whether it knows brokers, whether any answers; and the user's own callback.

Belongs to the poll thread. A report has some 700 bytes for each partition; only its parts about brokers and the group
are parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pyrallel_consumer.ingress.client.known_brokers import REPORT_MS, KnownBrokers, part_of
from pyrallel_consumer.ingress.reading.broker_silence import BrokerSilence, Connection
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
_JOINING: Final = frozenset({"wait-join", "wait-metadata", "wait-sync"})


class Statistics:
    """``silence`` tells whether any broker answers, ``known_brokers`` whether the client can ever ask one again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.known_brokers = KnownBrokers(clock)
        self.silence = BrokerSilence(clock())
        self._clock = clock
        self._users_seconds = 0.0
        self._users_at = clock()

    def interval_ms(self, configuration: Mapping[str, Any]) -> Any:
        """How often the client must report. The user's value only decides how often their callback is called."""
        given = configuration.get("statistics.interval.ms", 0)
        try:
            users_ms = int(given)
        except (TypeError, ValueError):
            return given  # the client refuses it by name in a moment
        self._users_seconds = users_ms / 1000
        return min(REPORT_MS, users_ms) if users_ms > 0 else REPORT_MS

    @property
    def is_users_turn(self) -> bool:
        """Whether the user's callback is due for this report. Asking also notes that it was called."""
        now = self._clock()
        if not self._users_seconds or now < self._users_at + self._users_seconds - REPORT_MS / 2000:
            return False
        self._users_at = now
        return True

    def take(self, report: str) -> None:
        """A report of the client's, as JSON."""
        was_connected = self.silence.is_connected
        group = part_of(report, report.rfind('"cgrp":')) or {}
        brokers = part_of(report, report.find('"brokers":'))
        self.known_brokers.look(brokers)
        is_joining = group.get("join_state") in _JOINING
        self.silence.look(self._clock(), _connections((brokers or {}).values()), is_joining=is_joining)
        if was_connected and not self.silence.is_connected:
            LOGGER.error(
                "no broker has answered for %.0f s: nothing is read or committed, and the lag is unknown; the client "
                "goes on trying",
                self.silence.seconds,
            )
        elif self.silence.is_connected and not was_connected:
            LOGGER.warning("a broker answers again: consuming goes on")


def _connections(brokers: Any) -> Iterator[Connection]:
    for each in brokers:
        idle_us = each["rxidle"]
        yield Connection(
            is_up=each["state"] == "UP",
            is_asked=each["waitresp_cnt"] > 0,
            silent_seconds=idle_us / 1e6 if idle_us >= 0 else None,
            is_coordinator=each["source"] == "logical",
        )
