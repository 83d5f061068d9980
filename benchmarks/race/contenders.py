"""The contenders of the race: their names, how their processes are started, and their settings in each case.

A contender with several variants runs all of them once before the rounds of a family of cases; the fastest that keeps
the order that the case asks for runs in the rounds. Every variant's figure is in the report.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from race.cases import CAP_SECONDS, Case
from race.environments import python_of, python_of_ours

BENCHMARKS: Final = Path(__file__).resolve().parents[1]
STEADY_CAP_SECONDS: Final = 1.5
Settings = Mapping[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Variant:
    """``is_by_key``: keeps order by key, as this library does in every case."""

    title: str
    settings: Settings
    is_by_key: bool = True


@dataclass(frozen=True, slots=True)
class Contender:
    """``kind``: ours, yardstick or peer. ``python`` finds the interpreter, or says why there is none."""

    name: str
    title: str
    kind: str
    program: str
    variants: Callable[[Case], Sequence[Variant]]
    python: Callable[[Say], str] = lambda _say: sys.executable
    promise: str = "order by key, gaps kept over restarts"
    usual_cap_seconds: float = CAP_SECONDS
    """Longer for who takes seconds to come to speed, shorter for who is slow and steady."""
    is_steady_while_waiting: bool = False
    """Whether its rate with waiting work is given by the work alone: then a short lap tells it."""

    def family(self, case: Case) -> str:
        """The cases that share a choice of variants: Java's concurrency fits a case, PyPI's settings a kind of work."""
        return case.family if self.name == "java" else case.work

    def cap_seconds(self, case: Case) -> float:
        if self.is_steady_while_waiting and case.is_waiting and case.cap_seconds == CAP_SECONDS:
            return STEADY_CAP_SECONDS
        return self.usual_cap_seconds if case.cap_seconds == CAP_SECONDS else case.cap_seconds

    def command(self, say: Say) -> list[str]:
        return [self.python(say), "-P", "-m", f"race.{self.program}"]

    def environment(self) -> dict[str, str]:
        """PyPI's library has our import name, so only our own programs see this project."""
        path = [BENCHMARKS] if self.kind == "peer" and self.program in {"contender_pypi", "contender_aiokafka"} else []
        path = path or [BENCHMARKS, BENCHMARKS.parent]
        return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}


def _ours(mode: str, **settings: Any) -> Callable[[Case], Sequence[Variant]]:
    def variants(case: Case) -> Sequence[Variant]:
        wanted = {
            "mode": mode,
            "parallel_consumer": {"queue_max_messages": case.queue_max_messages},
            "execution": {"max_in_flight": case.max_in_flight} | _pool(mode, case),
        }
        told = f"max_in_flight {case.max_in_flight:,}, queue_max_messages {case.queue_max_messages:,}"
        return [Variant(told, wanted | settings)]

    return variants


def _pool(mode: str, case: Case) -> dict[str, int]:
    """Blocking workers that wait: as many as keys, in threads; as many processes as PyPI's library has by default."""
    most = {"thread": 128, "process": 8}.get(mode, 0)
    return {"worker_pool_size": min(case.traffic.keys, most)} if most and case.is_waiting else {}


def _lanes(*, is_uvloop: bool) -> Callable[[Case], Sequence[Variant]]:
    return lambda _: [Variant("no Kafka", {"is_uvloop": is_uvloop})]


_DEFAULTS: Final = {"auto.offset.reset": "earliest"}
_TUNED: Final = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 50,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16 * 1024,
    "fetch.max.bytes": 16 * 1024 * 1024,
    "fetch.message.max.bytes": 256 * 1024,
}


def _plain(_: Case) -> Sequence[Variant]:
    return [Variant("client's defaults, poll()", {"client": _DEFAULTS, "is_tuned": False})]


def _plain_tuned(_: Case) -> Sequence[Variant]:
    """As this library's client is, whose answers are small so that many keys are there at once; and with large ones."""
    title = "the library's client settings, consume(1000)"
    large = _TUNED | {"fetch.message.max.bytes": 1024 * 1024}
    return [
        Variant(title, {"client": _TUNED, "is_tuned": True}),
        Variant(f"{title}, answers of 1 MiB", {"client": large, "is_tuned": True}),
    ]


def _aiokafka(_: Case) -> Sequence[Variant]:
    return [Variant("getmany, one task per partition, client's defaults", {"client": {}})]


def _pypi(case: Case) -> Sequence[Variant]:
    """Its documentation names ``worker_pool_size`` (its shards by key), the strict monitor and the in-flight limit."""
    held = {"queue_max_messages": case.queue_max_messages, "diag_log_every": 1_000_000}
    execution = {"max_in_flight": case.max_in_flight}
    if case.work == "cpu":
        return [
            Variant(f"process, {count} processes", {"mode": "process", "process": {"process_count": count}})
            for count in (2, os.cpu_count() or 2)
        ][: 1 if os.cpu_count() == 2 else 2]
    wide = {"worker_pool_size": min(max(case.traffic.keys, 8), 5000), "strict_completion_monitor_enabled": False}
    return [
        Variant("defaults, limits of the case", {"parallel_consumer": held, "execution": execution}),
        Variant("shards for every key, monitor off", {"parallel_consumer": held | wide, "execution": execution}),
    ]


_JAVA_CONCURRENCY: Final[Mapping[str, tuple[int, ...]]] = {
    "noop": (16, 100),
    "wait-1-ms": (100, 200),
    "wait-5-ms": (100, 200),
    "wait-5-ms-5000-keys": (1000, 2000),
    "wait-50-ms": (1000,),
    "wait-1-ms-zipf": (100, 400),
    "slow-tail": (400, 1000),
    "cpu": (2, 16),
    "light-load": (16, 100),
    "bursts": (100, 1000),
}
_EAGER: Final = {"initial_load_factor": 20, "client": {"max.poll.records": 5000}}


def _java(case: Case) -> Sequence[Variant]:
    """Concurrency by key; the lowest with a read-ahead that is large from the start, too; and other orders."""
    if case.is_restart:
        return [_java_variant("KEY", case.max_in_flight)]
    concurrencies = _JAVA_CONCURRENCY.get(case.family) or (16, min(max(case.traffic.keys, 32), 1000))
    variants = [_java_variant("KEY", number) for number in concurrencies]
    if case.pace is None:
        variants.append(_java_variant("KEY", concurrencies[0], **_EAGER))
        variants.append(_java_variant("UNORDERED", concurrencies[-1]))
    if case.family == "noop":
        variants.append(_java_variant("PARTITION", concurrencies[0]))
    return variants


def _java_variant(ordering: str, concurrency: int, **more: Any) -> Variant:
    told = f", {_told(more)}" if more else ""
    settings = {"ordering": ordering, "concurrency": concurrency, "client": {}} | more
    return Variant(f"{ordering}, {concurrency} threads{told}", settings, is_by_key=ordering == "KEY")


def _told(settings: Settings) -> str:
    flat = {name: value for name, value in settings.items() if name != "client"} | settings.get("client", {})
    return ", ".join(f"{name} {value}" for name, value in flat.items())


_GAPS: Final = "order by key, gaps kept over restarts"
CONTENDERS: Final = (
    Contender("async", "ours", "ours", "contender_ours", _ours("async")),
    Contender("async-uvloop", "ours, uvloop", "ours", "contender_ours", _ours("async", is_uvloop=True)),
    Contender("async-metrics", "ours, metrics on", "ours", "contender_ours", _ours("async", is_metrics=True)),
    Contender(
        "async-metered",
        "ours, metrics on and off in turn",
        "ours",
        "contender_metered",
        _ours("async", is_metrics=True),
    ),
    Contender(
        "async-3.11", "ours, Python 3.11", "ours", "contender_ours", _ours("async"), lambda _: python_of_ours("3.11")
    ),
    Contender("thread", "ours, threads", "ours", "contender_ours", _ours("thread")),
    Contender("process", "ours, processes", "ours", "contender_ours", _ours("process")),
    Contender("lanes", "bare asyncio lanes", "yardstick", "contender_lanes", _lanes(is_uvloop=False), promise="none"),
    Contender(
        "lanes-uvloop", "bare lanes, uvloop", "yardstick", "contender_lanes", _lanes(is_uvloop=True), promise="none"
    ),
    Contender(
        "plain",
        "plain loop, defaults",
        "peer",
        "contender_plain",
        _plain,
        is_steady_while_waiting=True,
        promise="order by partition",
    ),
    Contender(
        "plain-tuned",
        "plain loop, tuned",
        "peer",
        "contender_plain",
        _plain_tuned,
        promise="order by partition, commits nothing",
    ),
    Contender(
        "aiokafka",
        "aiokafka",
        "peer",
        "contender_aiokafka",
        _aiokafka,
        lambda say: python_of("aiokafka", say),
        is_steady_while_waiting=True,
        promise="order by partition",
    ),
    Contender(
        "pypi",
        "PyPI's pyrallel-consumer 1.0.0",
        "peer",
        "contender_pypi",
        _pypi,
        lambda say: python_of("pypi", say),
        usual_cap_seconds=2.0,
        promise="order by key",
    ),
    Contender("java", "Java parallel-consumer 0.5.3.3", "peer", "", _java, promise=_GAPS, usual_cap_seconds=6.0),
)
BY_NAME: Final = {contender.name: contender for contender in CONTENDERS}
