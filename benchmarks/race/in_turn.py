"""What metrics cost: durations taken and not taken in turn within one lap, and scrapes apart.

Laps differ by far more than the cost in question, and whole processes differ even more. Stretches of a few milliseconds
that follow one another differ little: each is held against the mean of its two neighbours, which were the other way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from statistics import geometric_mean, median
from typing import Final

from pyrallel_consumer.consumer import PyrallelConsumer
from race.scraper import scrape_once

STRETCH_MESSAGES: Final = 2000
STRETCH_WAITS: Final = 1000
FEWEST_MARKS: Final = 3
CUT: Final = 5
"""One stretch in this many is left out at either end: those in which another program took the machine."""
SCRAPES: Final = 20


class Stretches:
    """The stretches of one lap. ``first`` tells whether durations are taken to begin with (1) or not (0)."""

    def __init__(self, first: int = 0) -> None:
        self.finished = 0
        self._first = first
        self._marks: list[tuple[float, float]] = []
        self._consumer: PyrallelConsumer

    def watch(self, consumer: PyrallelConsumer) -> None:
        """The consumer, with metrics on, whose worker is ours; to be told before it starts."""
        self._consumer = consumer

    def worker(
        self, messages: int, seconds_each: float, at_once: int, end: Callable[[], object]
    ) -> Callable[[object], Awaitable[None]]:
        """A worker that waits, and calls ``end`` after the given number of messages; ``at_once`` of them may wait.

        Where thousands wait, an iteration of the loop ends thousands: a stretch is as many as may wait, or more.
        """
        stretch = max(STRETCH_WAITS, at_once) if seconds_each else STRETCH_MESSAGES
        finished = 0

        async def worker(_: object) -> None:
            nonlocal finished
            if seconds_each:
                await asyncio.sleep(seconds_each)
            finished += 1
            if finished % stretch == 0:
                self.finished = finished
                self._change()
            if finished >= messages:
                self.finished = finished
                if finished == messages:
                    end()

        return worker

    @property
    def is_telling(self) -> bool:
        """Whether there are stretches that have neighbours."""
        return len(self._marks) > FEWEST_MARKS

    @property
    def seconds(self) -> tuple[float, float]:
        """The sum of the stretches, in time and in CPU."""
        (began, cpu_began), (ended, cpu_ended) = self._marks[0], self._marks[-1]
        return ended - began, cpu_ended - cpu_began

    def slower(self) -> list[float]:
        """Time of each stretch with durations over that of one without."""
        return _on_off([clock for clock, _ in self._marks], self._first)

    def dearer(self) -> list[float]:
        """CPU, likewise."""
        return _on_off([cpu for _, cpu in self._marks], self._first)

    def _change(self) -> None:
        _take_durations(self._consumer, is_wanted=(len(self._marks) + self._first) % 2 == 1)
        self._marks.append((time.perf_counter(), time.process_time()))


async def scrape_seconds(consumer: PyrallelConsumer) -> list[float]:
    """CPU seconds of each of some scrapes of ``/metrics``."""
    address = consumer.metrics_address
    assert address is not None
    took = []
    for _ in range(SCRAPES):
        before = time.process_time()
        await asyncio.to_thread(scrape_once, *address)
        took.append(time.process_time() - before)
    return took


def _trimmed(ratios: Sequence[float]) -> float:
    """Their mean, as of ratios, without the least and the greatest."""
    cut = len(ratios) // CUT
    return geometric_mean(sorted(ratios)[cut : len(ratios) - cut])


def figures_of(laps: Sequence[Stretches], scrapes: Sequence[float]) -> dict[str, float]:
    """Ratios with durations on to durations off; CPU milliseconds of a scrape; how many cores are busy."""
    seconds, cpu_seconds = (sum(both) for both in zip(*(lap.seconds for lap in laps), strict=True))
    return {
        "rate_on_off": 1 / _trimmed([ratio for lap in laps for ratio in lap.slower()]),
        "cpu_on_off": _trimmed([ratio for lap in laps for ratio in lap.dearer()]),
        "cores": cpu_seconds / seconds,
        "scrape_ms": 1000 * median(scrapes),
    }


def _take_durations(consumer: PyrallelConsumer, *, is_wanted: bool) -> None:
    """Turn durations on or off. No setting changes while a consumer runs, so its books are changed directly."""
    wiring = consumer._wiring  # noqa: SLF001 -- as said
    wiring.manager._works.is_timed = wiring.control._is_timed = is_wanted  # noqa: SLF001 -- as said
    started_at = time.monotonic() if is_wanted else None
    for work in wiring.manager:
        for lane in work._queues.values():  # noqa: SLF001 -- as said
            lane.started_at = started_at


def _on_off(clock: Sequence[float], first: int) -> list[float]:
    """For each stretch with neighbours: its time with durations taken, divided by the time without.

    ``first`` says how the first stretch begins.
    """
    took = [later - earlier for earlier, later in pairwise(clock)]
    ratios = []
    for at in range(1, len(took) - 1):
        ratio = 2 * took[at] / (took[at - 1] + took[at + 1])
        ratios.append(ratio if (at + first) % 2 == 1 else 1 / ratio)
    return ratios
