"""The cases of workers in threads: waiting ones, and computing ones with and without the GIL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from case import RATE, Case, Version
from job import Job
from reading import Reading, Round, plain, ratio
from workbench import Workbench

THREADS_BOUND: Final = 40_000


def _thread_wait(bench: Workbench) -> Mapping[str, Job]:
    sizes = bench.sizes
    work = {"messages": sizes.thread_messages, "keys": sizes.threads, "worker_ms": 5.0}
    topic = bench.topic(sizes.thread_messages, 10 * sizes.threads)
    return {
        "bare threads": bench.job("bare threads", **work),
        "waiting threads": bench.job("waiting threads", topic=topic, **work),
    }


def _thread_wait_readings(_: Version) -> Sequence[Reading]:
    def of_bound(subject: str) -> Callable[[Round], float]:
        return lambda one: one[subject][RATE] / THREADS_BOUND

    return [
        Reading("5 ms in 200 threads / 40,000 a second", of_bound("waiting threads"), at_least=0.9),
        Reading("bare threads / 40,000 a second", of_bound("bare threads")),
        Reading("5 ms in 200 threads / bare threads", ratio(RATE, "waiting threads", "bare threads")),
    ]


def _thread_cpu(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.hashed_messages
    topic = bench.topic(messages, 200)

    def job(subject: str, **settings: Any) -> Job:
        return bench.job(subject, topic=topic, messages=messages, **settings)

    with_gil = {"PYTHON_GIL": "1"}
    return {
        "sequential hashing": job("sequential hashing"),
        "hashing threads": job("hashing threads"),
        "hashing threads, GIL on": job("hashing threads", environment=with_gil),
        "adding threads": job("adding threads"),
        "adding threads, GIL on": job("adding threads", environment=with_gil),
    }


def _thread_cpu_readings(_: Version) -> Sequence[Reading]:
    return [
        Reading("the GIL of this Python is on", plain("is_gil_on", "hashing threads"), "(1 yes, 0 no)"),
        Reading("sha256 x 500 in 2 threads / sequential loop", ratio(RATE, "hashing threads", "sequential hashing")),
        Reading(
            "sha256 x 500 in 2 threads / with the GIL on", ratio(RATE, "hashing threads", "hashing threads, GIL on")
        ),
        Reading("bytecode in 2 threads / with the GIL on", ratio(RATE, "adding threads", "adding threads, GIL on")),
    ]


THREAD_CASES: Final = (
    Case(
        "thread-cpu",
        "sha256 x 500 in 2 threads, as this Python is and with its GIL on",
        _thread_cpu,
        _thread_cpu_readings,
    ),
    Case("thread-wait", "5 ms blocked in 200 threads, 2,000 keys", _thread_wait, _thread_wait_readings),
)
