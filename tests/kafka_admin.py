"""An admin client for each call: one that asks a broker at a bad moment may lose it permanently (librdkafka 5301).

A broker that has just started, or that went on after a freeze, is such a moment. Knows nothing of the library.
"""

from __future__ import annotations

import threading

from confluent_kafka.admin import AdminClient


class Admins:
    """Keeps the last client: the answers to its call end with it."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._last: list[AdminClient] = []

    def made(self) -> AdminClient:
        """A client that has asked nothing yet; the last one ends."""
        before, self._last = self._last, [AdminClient({"bootstrap.servers": self._bootstrap_servers})]
        # The end of a client that lost its brokers may never come.
        threading.Thread(target=before.clear, daemon=True).start()
        return self._last[0]
