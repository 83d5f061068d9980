"""Reads ``/metrics`` once a second while a lap runs; in the measured process, so that all of its cost counts.

By ``http.client``: the first request of ``urllib.request`` loads the certificates of the machine, 50 ms of CPU that are
none of the library's.
"""

from __future__ import annotations

import http.client
import threading
from typing import Final

EVERY_SECONDS: Final = 1.0
USUAL_SECONDS: Final = 5.0
"""How often a Prometheus asks, as in ``monitoring/prometheus.yml``."""
FIRST_SECONDS: Final = 0.3
"""The first scrape comes so early that a lap of one second has one, too."""
TIMEOUT_SECONDS: Final = 5.0


def scrape(address: tuple[str, int]) -> None:
    """Begin; ends with the process."""
    threading.Thread(target=_scrape, args=address, daemon=True, name="scraper").start()


def _scrape(host: str, port: int) -> None:
    pause, wait = threading.Event(), FIRST_SECONDS
    while not pause.wait(wait):
        try:
            scrape_once(host, port)
        except OSError:
            return  # the consumer has stopped, and its endpoint with it
        wait = EVERY_SECONDS


def scrape_once(host: str, port: int) -> None:
    """Read ``/metrics``, whole."""
    client = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        client.request("GET", "/metrics")
        client.getresponse().read()
    finally:
        client.close()
