"""The cases of workers in processes: no-ops, computing, and large values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from case import RATE, Case, Version
from job import Job
from reading import Reading, Round, plain, ratio
from workbench import Workbench

PAYLOAD_BYTES: Final = (4096, 990_000)


def _process_noop(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.process_messages
    return {"no-op process": bench.job("no-op process", topic=bench.topic(messages, 200), messages=messages)}


def _process_zipf(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.process_messages
    topic = bench.topic(messages, 1000, hot_share=0.3)
    return {"no-op process": bench.job("no-op process", topic=topic, messages=messages)}


def _process_readings(at_least: float) -> Callable[[Version], Sequence[Reading]]:
    return lambda _: [
        Reading("no-op process", plain(RATE, "no-op process"), "msg/s", at_least=at_least),
        Reading(
            "the parent's RSS, growth in the second half", plain("rss_growth_mib", "no-op process"), "MiB", below=8
        ),
    ]


def _process_cpu(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.hashed_messages
    topic = bench.topic(messages, 200)
    return {name: bench.job(name, topic=topic, messages=messages) for name in ("sequential hashing", "hashing process")}


def _process_cpu_readings(_: Version) -> Sequence[Reading]:
    of = ratio(RATE, "hashing process", "sequential hashing")
    return [Reading("sha256 x 500 on 2 processes / sequential loop", of, at_least=1.8)]


def _process_payload(bench: Workbench) -> Mapping[str, Job]:
    return {
        f"{size:,} bytes": bench.job(
            "no-op process", topic=bench.topic(messages, 200, value_bytes=size), messages=messages
        )
        for size, messages in bench.sizes.payloads
    }


def _process_payload_readings(_: Version) -> Sequence[Reading]:
    def mib_per_second(size: int) -> Callable[[Round], float]:
        return lambda one: one[f"{size:,} bytes"][RATE] * size / 1024 / 1024

    readings = []
    for size in PAYLOAD_BYTES:
        readings += [
            Reading(f"{size:,} bytes", plain(RATE, f"{size:,} bytes"), "msg/s"),
            Reading(f"{size:,} bytes", mib_per_second(size), "MiB/s"),
        ]
    return readings


PROCESS_CASES: Final = (
    Case("process-noop", "no-op in 2 processes, 200 keys", _process_noop, _process_readings(100_000)),
    Case("process-zipf", "the same, 1,000 keys, one with 30 %", _process_zipf, _process_readings(50_000)),
    Case(
        "process-cpu", "sha256 x 500 in 2 processes against the loop on one core", _process_cpu, _process_cpu_readings
    ),
    Case("process-payload", "no-op in 2 processes, large values", _process_payload, _process_payload_readings),
)
