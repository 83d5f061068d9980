"""Real data with a real skew: 28,000 airports by country, and a result that only comes out right in order.

    python examples/airports.py            # needs airportsdata

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. The package
airportsdata (MIT licence) ships the data. Key is the country; almost half of all airports are in one of them. The
worker flies from each airport of a country to the next of the list, so each message needs its predecessor. What comes
out must be what a plain loop over the list gives, to the last digit.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

import airportsdata

from pyrallel_consumer import ExecutionConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

EARTH_KM = 6371.0088
ENOUGH_SECONDS = 120


class Airport(NamedTuple):
    """The fields of an airport that the messages carry."""

    name: str
    lat: float
    lon: float


class Tours:
    """Of each country: the last airport, and how far it was up to there."""

    def __init__(self) -> None:
        self.km: dict[str, float] = {}
        self.longest_hop: tuple[float, str, str] = (0.0, "", "")
        self._last: dict[str, Airport] = {}

    def fly(self, country: str, to: Airport) -> None:
        start = self._last.get(country, to)
        hop = distance_km(start, to)
        self.km[country] = self.km.get(country, 0.0) + hop
        self.longest_hop = max(self.longest_hop, (hop, start.name, to.name))
        self._last[country] = to


def distance_km(start: Airport, to: Airport) -> float:
    """Along a great circle (haversine)."""
    north, south = math.radians(start.lat), math.radians(to.lat)
    east = math.radians(to.lon - start.lon)
    chord = math.sin((south - north) / 2) ** 2 + math.cos(north) * math.cos(south) * math.sin(east / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(chord)))


def airports() -> Iterable[tuple[str, Airport]]:
    for each in airportsdata.load("ICAO").values():
        yield each["country"], Airport(each["name"], each["lat"], each["lon"])


async def main() -> int:
    expected, number = Tours(), 0
    for country, airport in airports():
        expected.fly(country, airport)
        number += 1

    tours, done, all_done = Tours(), 0, asyncio.Event()

    async def worker(item: WorkItem) -> None:
        nonlocal done
        await asyncio.sleep(0)  # lets other countries go first, if they like
        tours.fly((item.key or b"").decode(), Airport(*json.loads(item.payload or b"[]")))
        done += 1
        if done == number:
            all_done.set()

    with TrialKafka() as kafka:
        records = ((country.encode(), json.dumps(airport).encode()) for country, airport in airports())
        topic = kafka.topic("airports", records, partitions=6)
        begun = time.monotonic()
        async with PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=ExecutionConfig()):
            await asyncio.wait_for(all_done.wait(), timeout=ENOUGH_SECONDS)
        took = time.monotonic() - begun

    hop, start, to = tours.longest_hop
    print(f"{done:,} airports of {len(tours.km)} countries in {took:.1f} s")
    print(f"all tours together: {sum(tours.km.values()):,.0f} km; the longest hop: {start} - {to}, {hop:,.0f} km")
    holds = tours.km == expected.km and tours.longest_hop == expected.longest_hop
    print("OK: the same tours as of a plain loop" if holds else "FAILED: the tours differ from those of a plain loop")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
