"""The cases of scaling workers that await beyond one interpreter: what ``scaling.md`` has its figures from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from case import RATE, Case, Version
from job import Job
from reading import Reading, plain, ratio
from workbench import Workbench

IN_FLIGHT: Final = 5000
HTTP_IN_FLIGHT: Final = 200


def _scaled(busy_us: float, wait_ms: float) -> Case:
    name = f"scaling-{busy_us:g}us-{wait_ms:g}ms"
    target = 1.5 if busy_us else 1.2

    def jobs(bench: Workbench) -> Mapping[str, Job]:
        sizes = bench.sizes
        messages = sizes.hashed_messages if busy_us else sizes.many_lane_messages
        topic = bench.topic(messages, sizes.many_lanes, partitions=1)
        work = {"messages": messages, "max_in_flight": IN_FLIGHT, "busy_us": busy_us, "worker_ms": wait_ms}
        return {subject: bench.job(subject, topic=topic, **work) for subject in ("one loop", "loops in processes")}

    def readings(_: Version) -> Sequence[Reading]:
        return [
            Reading("2 processes / one loop", ratio(RATE, "loops in processes", "one loop"), at_least=target),
            Reading("the parent's CPU", plain("cpu_us_per_message", "loops in processes"), "µs a message"),
            Reading("the processes' CPU", plain("children_cpu_us_per_message", "loops in processes"), "µs a message"),
            Reading("one loop's CPU", plain("cpu_us_per_message", "one loop"), "µs a message"),
        ]

    question = f"{busy_us:g} µs of computing and {wait_ms:g} ms of waiting, one partition, one loop and 2 processes"
    return Case(name, question, jobs, readings)


def _noop(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.process_messages
    topic = bench.topic(messages, IN_FLIGHT)
    return {
        "loops in processes": bench.job("loops in processes", topic=topic, messages=messages, max_in_flight=IN_FLIGHT)
    }


def _noop_readings(_: Version) -> Sequence[Reading]:
    return [Reading("no-op in 2 processes", plain(RATE, "loops in processes"), "msg/s", at_least=100_000)]


def _members(bench: Workbench) -> Mapping[str, Job]:
    sizes = bench.sizes
    topic = bench.topic(sizes.process_messages, sizes.many_lanes)
    work = {"messages": sizes.process_messages, "max_in_flight": IN_FLIGHT, "worker_ms": 5.0}
    return {f"{count} members": bench.job("members", topic=topic, consumers=count, **work) for count in (1, 2)}


def _members_readings(_: Version) -> Sequence[Reading]:
    return [Reading("2 members / 1 member", ratio(RATE, "2 members", "1 members"), at_least=1.5)]


def _http(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.hashed_messages
    topic = bench.topic(messages, bench.sizes.many_lanes, partitions=1)
    work = {"messages": messages, "max_in_flight": HTTP_IN_FLIGHT}
    return {subject: bench.job(subject, topic=topic, **work) for subject in ("http on one loop", "http in processes")}


def _http_readings(_: Version) -> Sequence[Reading]:
    return [
        Reading("one loop", plain(RATE, "http on one loop"), "calls/s"),
        Reading("2 processes", plain(RATE, "http in processes"), "calls/s"),
        Reading("2 processes / one loop", ratio(RATE, "http in processes", "http on one loop")),
        Reading("the parent's CPU", plain("cpu_us_per_message", "http in processes"), "µs a message"),
    ]


SCALING_CASES: Final = (
    _scaled(100.0, 5.0),
    _scaled(0.0, 5.0),
    Case("scaling-noop", "no-op, 5,000 keys, 2 processes with a loop each", _noop, _noop_readings),
    Case(
        "scaling-http",
        "aiohttp calls to a server in a process of its own, which waits 5 ms, one partition, one loop and 2 processes",
        _http,
        _http_readings,
    ),
    Case(
        "scaling-members", "5 ms worker, 5,000 keys, 8 partitions, run --consumers 1 and 2", _members, _members_readings
    ),
)
