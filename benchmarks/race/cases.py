"""The cases of the race: the messages, the work on them, and the contenders.

Message counts are chosen so that a lap of the fastest takes about a second, and a cap ends the laps of the others;
five rounds of everything with all peers on a machine of two cores then take 35 to 40 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from race.traffic import Traffic

OURS: Final = ("async", "async-uvloop")
METERED: Final = ("async-metrics", "async-metered")
CAP_SECONDS: Final = 2.5
PEERS: Final = ("plain", "plain-tuned", "aiokafka", "pypi", "java")


@dataclass(frozen=True, slots=True)
class Pace:
    """Sent while the lap runs: ``burst`` messages at once, ``per_second`` on average."""

    per_second: int
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Case:
    """``family``: cases of one family share the choice of a peer's best variant, made on its first case."""

    name: str
    question: str
    family: str
    traffic: Traffic
    contenders: tuple[str, ...]
    work: str = "noop"
    work_ms: float = 0.0
    cpu_rounds: int = 0
    slow_factor: float = 1.0
    partitions: int = 8
    value_bytes: int = 100
    cap_seconds: float = CAP_SECONDS
    max_in_flight: int = 1000
    queue_max_messages: int = 5000
    pace: Pace | None = None
    is_restart: bool = False
    most_rounds: int = 100

    @property
    def is_waiting(self) -> bool:
        return self.work in {"sleep", "io"}

    @property
    def sample_mask(self) -> int:
        """Latency of every message that is sent at a pace, and of 1,000 to 4,000 of all others."""
        if self.pace is not None:
            return 0
        return max((1 << max(self.traffic.messages // 2000, 1).bit_length() - 1) - 1, 0)


def _noop(name: str, question: str, traffic: Traffic, *more: str, **rest: Any) -> Case:
    return Case(name, question, "noop", traffic, (*OURS, *more, *PEERS), **rest)


def _waiting(name: str, question: str, work_ms: float, traffic: Traffic, *more: str, **rest: Any) -> Case:
    peers = tuple(peer for peer in PEERS if peer != "plain-tuned")
    contenders = ("lanes", "async", *more, "lanes-uvloop", "async-uvloop", *peers)
    return Case(name, question, name, traffic, contenders, work="sleep", work_ms=work_ms, **rest)


_PACED: Final = ("async", "async-uvloop", "plain-tuned", "aiokafka", "pypi", "java")

CASES: Final = (
    _noop("noop", "no work, 100 keys", Traffic(300_000, 100), *METERED, "async-3.11"),
    _noop("noop-1-key", "no work, one key", Traffic(300_000, 1)),
    _noop("noop-10000-keys", "no work, 10,000 keys", Traffic(300_000, 10_000)),
    _noop("noop-zipf", "no work, 10,000 keys, Zipf", Traffic(300_000, 10_000, "zipf")),
    _noop("noop-4-kb", "no work, 100 keys, values of 4 KB", Traffic(60_000, 100), value_bytes=4096),
    _noop("noop-4-partitions", "no work, 100 keys, 4 partitions", Traffic(300_000, 100), partitions=4),
    _noop("noop-32-partitions", "no work, 100 keys, 32 partitions", Traffic(300_000, 100), partitions=32),
    _waiting("wait-1-ms", "1 ms of waiting, 100 keys", 1.0, Traffic(60_000, 100)),
    _waiting("wait-5-ms", "5 ms of waiting, 100 keys", 5.0, Traffic(20_000, 100), *METERED),
    _waiting(
        "wait-5-ms-5000-keys",
        "5 ms of waiting, 5,000 keys, 5,000 in flight",
        5.0,
        Traffic(100_000, 5000),
        *METERED,
        max_in_flight=5000,
        queue_max_messages=25_000,
    ),
    _waiting("wait-50-ms", "50 ms of waiting, 1,000 keys", 50.0, Traffic(30_000, 1000)),
    _waiting("wait-1-ms-zipf", "1 ms of waiting, 10,000 keys, Zipf", 1.0, Traffic(20_000, 10_000, "zipf")),
    _waiting(
        "slow-tail",
        "2 ms of waiting, one in 100 waits 200 ms; 1,000 keys",
        2.0,
        Traffic(30_000, 1000, slow_every=100),
        slow_factor=100.0,
    ),
    Case(
        "cpu",
        "500 rounds of sha256, 100 keys",
        "cpu",
        Traffic(8000, 100),
        ("plain", "process", "thread", "aiokafka", "pypi", "java"),
        work="cpu",
        cpu_rounds=500,
    ),
    Case(
        "light-load",
        "no work, 1,000 messages a second, evenly",
        "light-load",
        Traffic(4000, 100),
        ("async-metrics", *_PACED),
        pace=Pace(1000),
        cap_seconds=12.0,
    ),
    Case(
        "bursts",
        "1 ms of waiting, 1,000 messages at once every half a second, 1,000 keys",
        "bursts",
        Traffic(8000, 1000),
        tuple(name for name in _PACED if name != "plain-tuned"),
        work="sleep",
        work_ms=1.0,
        pace=Pace(2000, burst=1000),
        cap_seconds=12.0,
    ),
    Case(
        "restart",
        "killed after 6.5 s (then 9 s) and started again: 5 ms of waiting, one in 100 waits 500 ms; 20 at once",
        "restart",
        Traffic(60_000, 200, slow_every=100),
        ("async", "plain", "java"),
        work="sleep",
        work_ms=5.0,
        slow_factor=100.0,
        max_in_flight=20,
        cap_seconds=6.5,
        is_restart=True,
        most_rounds=2,
    ),
)
BY_NAME: Final = {case.name: case for case in CASES}
