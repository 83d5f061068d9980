"""The stopwatch of a lap: from the client's first delivery to the last completion, and latencies of a sample.

Three latencies, in ms: from delivery (the client handed the message to whoever polls) to the start of the worker, from
delivery to the end, and from the intended moment of sending to the end; the last only for what is sent at a pace. An
intended moment does not move when the sender is late, so a stall is felt by all that should have been sent meanwhile.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from race.lap_plan import FIGURES, FLAG_AT, INTENDED_DIGITS, STARTED, WARM_UP, LapPlan

Place = tuple[int, int]
"""Partition and offset."""


class Stopwatch:
    """Deliveries may be noted on another thread than completions."""

    def __init__(self, plan: LapPlan) -> None:
        self._plan = plan
        self._mask = plan.sample_mask
        self._delivered: dict[Place, int] = {}
        self._samples: list[tuple[Place, int, int, bytes]] = []
        self._first_ns = self._ended_ns = 0
        self._cpu_at_first = self._cpu_at_end = 0.0
        self._is_over = False
        self._end_calls: list[Callable[[], object]] = []

    @property
    def is_over(self) -> bool:
        """Whether the last message is finished."""
        return self._is_over

    def is_late(self) -> bool:
        """Whether the lap has lasted to its cap, or has not begun for too long."""
        if self._first_ns:
            return time.perf_counter_ns() - self._first_ns > self._plan.cap_seconds * 1e9
        return time.perf_counter() - _BORN > self._plan.start_seconds

    def when_over(self, call: Callable[[], object]) -> None:
        """Call this, on the thread of the last completion, when the last message is finished."""
        self._end_calls.append(call)

    def begin(self) -> None:
        """The first delivery is here, or the yardstick's first sleep begins."""
        if not self._first_ns:
            self._first_ns, self._cpu_at_first = time.perf_counter_ns(), time.process_time()
            print(STARTED, flush=True)

    def deliver(self, messages: Sequence[Any]) -> None:
        """The client handed out these messages of confluent-kafka just now."""
        if not self._first_ns:
            self.begin()
        now, mask = time.perf_counter_ns(), self._mask
        delivered = self._delivered
        for message in [one for one in messages if not one.offset() & mask]:
            delivered[message.partition(), message.offset()] = now

    def deliver_place(self, place: Place) -> None:
        """The same for one sampled message of another client."""
        self._delivered[place] = time.perf_counter_ns()

    def sample(self, place: Place, begun_ns: int, value: bytes | None, ended_ns: int = 0) -> None:
        """A message of the sample has just ended (or did so at ``ended_ns``)."""
        self._samples.append((place, begun_ns, ended_ns or time.perf_counter_ns(), value or b""))

    def end(self, ended_ns: int = 0) -> None:
        """The last message is finished (or was so at ``ended_ns``)."""
        self._ended_ns, self._cpu_at_end = ended_ns or time.perf_counter_ns(), time.process_time()
        self._is_over = True
        for call in self._end_calls:
            call()

    def figures(self, finished: int) -> dict[str, float]:
        """Of the lap up to its end, or up to now where the cap ended it."""
        if not self._first_ns:
            raise RuntimeError(f"nothing of {self._plan.topic} was delivered within {self._plan.start_seconds:.0f} s")
        ended = self._ended_ns or time.perf_counter_ns()
        cpu_at_end = self._cpu_at_end or time.process_time()
        seconds = max(ended - self._first_ns, 1) / 1e9
        return {
            "messages_per_second": finished / seconds,
            "cpu_us_per_message": (cpu_at_end - self._cpu_at_first) / max(finished, 1) * 1e6,
            "seconds": seconds,
            "finished": finished,
            "is_capped": float(not self._is_over),
        } | self._latencies()

    def _latencies(self) -> dict[str, float]:
        to_start, to_end, from_intended = [], [], []
        for place, begun, ended, value in self._samples:
            delivered = self._delivered.get(place)
            if delivered is None or value[FLAG_AT : FLAG_AT + 1] == WARM_UP:
                continue
            to_start.append((begun - delivered) / 1e6)
            to_end.append((ended - delivered) / 1e6)
            intended = int(value[:INTENDED_DIGITS] or b"0")
            if intended:
                from_intended.append((ended - intended) / 1e6)
        named = {"delivery_to_start": to_start, "delivery_to_end": to_end, "intended_to_end": from_intended}
        return {
            f"{name}_{statistic}_ms": value
            for name, values in named.items()
            if values
            for statistic, value in summary(values).items()
        } | {"sampled": len(to_start)}


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean, median, 99th percentile and the highest."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "mean": statistics.fmean(ordered),
        "p50": ordered[last // 2],
        "p99": ordered[round(last * 0.99)],
        "max": ordered[-1],
    }


def tell(figures: dict[str, float]) -> None:
    """Say the figures to the harness."""
    print(FIGURES + json.dumps(figures), flush=True)


def leave() -> None:
    """End the process without waiting for whatever still runs: a capped lap has nothing to finish."""
    sys.stdout.flush()
    os._exit(0)


_BORN = time.perf_counter()
