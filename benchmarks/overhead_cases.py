"""The cases of ``overhead.py``: the subjects of each, which run one after the other, and the readings that judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from case import CPU, RATE, Case, Version
from job import Job
from process_cases import PROCESS_CASES
from race.scraper import USUAL_SECONDS
from reading import Reading, Round, plain, ratio
from scaling_cases import SCALING_CASES
from thread_cases import THREAD_CASES
from workbench import PARTITIONS, Sizes, Workbench

EAGER_SINCE: Final = (3, 12)
"""From this Python on a task takes its first step while it is made, which is most of what a no-op costs."""
LARGE_BYTES: Final = 10_240
LARGE_LIMIT_BYTES: Final = 8 * 1024 * 1024
LARGE_PARTITIONS: Final = 32
NO_BYTES_LIMIT: Final = 1 << 34
ONE_READ_OVER: Final = 1.05
"""The limit in bytes is kept by reads that are sized by those before; what a read brings over it is seen afterwards."""
FEW, MANY, BUSY, QUIET = "8 partitions", "2,000 partitions", "all busy", "8 busy"


def _noop(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.noop_messages
    topic = bench.topic(messages, 200)
    return {name: bench.job(name, topic=topic, messages=messages) for name in ("plain loop", "no-op worker")}


def _noop_readings(version: Version) -> Sequence[Reading]:
    target = 0.22 if version >= EAGER_SINCE else 0.10
    return [Reading("no-op worker / plain loop", ratio(RATE, "no-op worker", "plain loop"), at_least=target)]


def _batches(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.noop_messages
    topic = bench.topic(messages, 200)
    return {
        "one by one": bench.job("no-op worker", topic=topic, messages=messages),
        "batches of 500": bench.job("no-op batches", topic=topic, messages=messages, batch_size=500),
        "no call": bench.job("no call", topic=topic, messages=messages),
    }


def _batches_readings(_: Version) -> Sequence[Reading]:
    return [
        Reading("no-op batches of 500 / no-op worker", ratio(RATE, "batches of 500", "one by one"), at_least=1.5),
        Reading("an engine that calls nothing / no-op worker", ratio(RATE, "no call", "one by one")),
    ]


def _metrics(bench: Workbench) -> Mapping[str, Job]:
    sizes = bench.sizes
    topic = bench.topic(sizes.metered_messages, 200)
    nothing, seconds = bench.topic(0, 0), sizes.idle_seconds
    return {
        "durations": bench.job(
            "metrics on and off", topic=topic, messages=sizes.metered_messages, laps=sizes.metered_laps
        ),
        "5 ms, 100 keys": bench.job(
            "metrics on and off",
            topic=bench.topic(sizes.lane_messages, 100),
            messages=sizes.lane_messages,
            laps=2 * sizes.metered_laps,
            worker_ms=5.0,
        ),
        "5 ms, many keys": bench.job(
            "metrics on and off",
            topic=bench.topic(sizes.many_lane_messages, sizes.many_lanes),
            laps=sizes.metered_laps,
            **_many_waits(sizes),
        ),
        "idle, metrics off": bench.job("idle", topic=nothing, seconds=seconds),
        "idle, metrics on": bench.job("idle", topic=nothing, seconds=seconds, is_metered=True),
    }


def _scrape_share(one: Round) -> float:
    return one["durations"]["scrape_ms"] / 1000 / USUAL_SECONDS


def _endpoint_share(one: Round) -> float:
    return max(0.0, one["idle, metrics on"]["cpu_percent"] - one["idle, metrics off"]["cpu_percent"]) / 100


def _metered_cpu(name: str) -> Callable[[Round], float]:
    """CPU with metrics on over that without: durations, and scrapes and endpoint beside the cores that are busy."""
    return lambda one: one[name]["cpu_on_off"] + (_scrape_share(one) + _endpoint_share(one)) / one[name]["cores"]


def _metrics_readings(_: Version) -> Sequence[Reading]:
    durations, scrapes, endpoint = plain("rate_on_off", "durations"), _scrape_share, _endpoint_share
    return [
        Reading(
            "no-op worker, metrics on / off",
            lambda one: durations(one) * (1 - scrapes(one) - endpoint(one)),
            at_least=0.97,
        ),
        Reading("of which durations", durations),
        Reading("its CPU, on / off", _metered_cpu("durations"), below=1.03),
        Reading("5 ms worker, 100 keys, CPU, on / off", _metered_cpu("5 ms, 100 keys"), below=1.03),
        Reading("5 ms worker, 5,000 keys, CPU, on / off", _metered_cpu("5 ms, many keys"), below=1.03),
        Reading("scrapes, every 5 s", lambda one: 100 * scrapes(one), "%"),
        Reading("open endpoint, idle", lambda one: 100 * endpoint(one), "%"),
    ]


def _lanes(bench: Workbench) -> Mapping[str, Job]:
    work = {"messages": bench.sizes.lane_messages, "keys": 100, "worker_ms": 5.0}
    topic = bench.topic(bench.sizes.lane_messages, 100)
    return {
        "bare lanes": bench.job("bare lanes", **work),
        "5 ms worker": bench.job("waiting worker", topic=topic, **work),
    }


def _many_lanes(bench: Workbench) -> Mapping[str, Job]:
    sizes = bench.sizes
    work, keys = _many_waits(sizes), sizes.many_lanes
    topic = bench.topic(sizes.many_lane_messages, keys)
    return {
        "bare lanes": bench.job("bare lanes", keys=keys, **work),
        "5 ms worker": bench.job("waiting worker", topic=topic, keys=keys, **work),
    }


def _many_waits(sizes: Sizes) -> dict[str, Any]:
    """5 ms for each message of many keys, all keys at once."""
    return {
        "messages": sizes.many_lane_messages,
        "worker_ms": 5.0,
        "max_in_flight": sizes.many_lanes,
        "queue_max_messages": 5 * sizes.many_lanes,
    }


def _lanes_readings(target: float) -> Callable[[Version], Sequence[Reading]]:
    return lambda _: [Reading("5 ms worker / bare lanes", ratio(RATE, "5 ms worker", "bare lanes"), at_least=target)]


def _preludes(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.prelude_messages
    topic = bench.topic(messages, messages)
    wait_ms = bench.sizes.prelude_wait_ms
    return {"1 ms prelude": bench.job("busy preludes", topic=topic, messages=messages, worker_ms=wait_ms)}


def _preludes_readings(_: Version) -> Sequence[Reading]:
    return [
        Reading("user's timer late, at most", plain("max_ms", "1 ms prelude"), "ms", below=20.0),
        Reading("user's timer late, 99 of 100", plain("p99_ms", "1 ms prelude"), "ms"),
        Reading("workers begun between two timers", plain("preludes_between_timers", "1 ms prelude"), ""),
        Reading("lateness without a consumer", plain("quiet_max_ms", "1 ms prelude"), "ms"),
    ]


def _idle(bench: Workbench) -> Mapping[str, Job]:
    topic = bench.topic(0, 0)
    seconds = bench.sizes.idle_seconds
    return {name: bench.job(name, topic=topic, seconds=seconds) for name in ("plain client idle", "idle")}


def _all_waiting(bench: Workbench) -> Mapping[str, Job]:
    sizes = bench.sizes
    topic = bench.topic(20 * sizes.waiting_workers, 2 * sizes.waiting_workers)
    return {
        "all waiting": bench.job(
            "all waiting", topic=topic, seconds=sizes.idle_seconds, max_in_flight=sizes.waiting_workers
        )
    }


def _idle_readings(_: Version) -> Sequence[Reading]:
    return [
        Reading("CPU with nothing to read", plain("cpu_percent", "idle"), "%", below=2.0),
        Reading("the same of a plain client", plain("cpu_percent", "plain client idle"), "%"),
    ]


def _all_waiting_readings(_: Version) -> Sequence[Reading]:
    return [Reading("CPU with all workers waiting", plain("cpu_percent", "all waiting"), "%", below=2.0)]


def _keys(bench: Workbench) -> Mapping[str, Job]:
    messages = bench.sizes.keys_messages
    return {
        f"{keys:,} keys": bench.job("no-op worker", topic=bench.topic(messages, keys), messages=messages)
        for keys in bench.sizes.keys
    }


def _partitions(bench: Workbench) -> Mapping[str, Job]:
    """Traffic in every partition, and in a few of them while all are assigned; by the consumer and by a plain loop."""
    messages, many = bench.sizes.partitions_messages, bench.sizes.many_partitions
    traffic = {BUSY: 4 * many, QUIET: PARTITIONS}
    jobs = {}
    for name, keys in traffic.items():
        for partitions, count in ((FEW, PARTITIONS), (MANY, many)):
            topic = bench.topic(messages, keys, partitions=count)
            jobs[f"{partitions}, {name}"] = bench.job("no-op worker", topic=topic, messages=messages)
            jobs[f"{partitions}, {name}, plain loop"] = bench.job("plain loop", topic=topic, messages=messages)
    return jobs


def _partitions_readings(_: Version) -> Sequence[Reading]:
    """The plain loop's growth is the client's own: no consumer can be without it."""

    def dearer(traffic: str) -> Callable[[Round], float]:
        return ratio(CPU, f"{MANY}, {traffic}", f"{FEW}, {traffic}")

    def least(traffic: str) -> Callable[[Round], float]:
        def growth(one: Round) -> float:
            few = one[f"{FEW}, {traffic}"][CPU]
            client = one[f"{MANY}, {traffic}, plain loop"][CPU] - one[f"{FEW}, {traffic}, plain loop"][CPU]
            return (few + client) / few

        return growth

    return [
        Reading("CPU of a message, many partitions / 8, all busy", dearer(BUSY), below=1.3),
        Reading("of which the client alone makes", least(BUSY)),
        Reading("CPU of a message, many partitions / 8, 8 busy", dearer(QUIET), below=1.3),
        Reading("of which the client alone makes, 8 busy", least(QUIET)),
    ]


def _backlog(bench: Workbench) -> Mapping[str, Job]:
    return {
        f"backlog of {messages:,}": bench.job(
            "backlog",
            topic=bench.topic(messages, messages),
            messages=messages,
            queue_max_messages=messages + 1,
            queue_max_bytes=NO_BYTES_LIMIT,
        )
        for messages in bench.sizes.backlogs
    }


def _growth_readings(of: str) -> Callable[[Version], Sequence[Reading]]:
    return lambda _: [Reading(f"cost per message, worst / first, by {of}", _growth, below=1.5)]


def _growth(one: Round) -> float:
    """How much dearer a message is than in the first subject, in the subject where it is dearest."""
    rates = [figures[RATE] for figures in one.values()]
    first = next(iter(one.values()))[RATE]
    return first / min(rates)


def _memory(bench: Workbench) -> Mapping[str, Job]:
    sizes = bench.sizes
    topic = bench.topic(sizes.memory_messages, sizes.memory_messages)
    return {"blocked": bench.job("blocked", topic=topic, seconds=sizes.memory_seconds)}


def _memory_of_large(bench: Workbench) -> Mapping[str, Job]:
    sizes = bench.sizes
    # Values that cannot be compressed are as large on the network as in memory; the partitions hold all of them.
    topic = bench.topic(
        sizes.large_messages, 1000, partitions=LARGE_PARTITIONS, value_bytes=LARGE_BYTES, is_compressible=False
    )
    job = bench.job("blocked", topic=topic, seconds=sizes.memory_seconds, queue_max_bytes=LARGE_LIMIT_BYTES)
    return {"blocked": job}


def _memory_readings(_: Version) -> Sequence[Reading]:
    def used(measured: str, limit: str) -> Callable[[Round], float]:
        return lambda one: one["blocked"][measured] / one["blocked"][limit]

    return [
        Reading("messages held / queue_max_messages", used("load_messages", "limit_messages"), below=1.0001),
        Reading("bytes held / queue_max_bytes", used("load_mib", "limit_mib"), below=ONE_READ_OVER),
        Reading("growth of RSS / bounds", used("rss_growth_mib", "rss_limit_mib"), below=1.0001),
        Reading("growth of RSS", plain("rss_growth_mib", "blocked"), "MiB"),
    ]


CASES: Final = (
    Case("noop", "no-op worker, 200 keys", _noop, _noop_readings),
    Case("batches", "no-op worker, one by one and in batches of 500", _batches, _batches_readings),
    Case(
        "metrics",
        "no-op, 200 keys; 5 ms, 100 and 5,000 keys: durations taken and not in turn, scrapes, the endpoint",
        _metrics,
        _metrics_readings,
    ),
    Case("lanes", "5 ms worker, 100 keys", _lanes, _lanes_readings(0.9)),
    Case("many-lanes", "5 ms worker, 5,000 keys, 5,000 in flight", _many_lanes, _lanes_readings(0.7)),
    Case("preludes", "1 ms of computing at the start of each of 1,000 workers at once", _preludes, _preludes_readings),
    Case("idle", "assigned, nothing to read", _idle, _idle_readings, most_rounds=2),
    Case("waiting", "1,000 workers wait, more messages are there", _all_waiting, _all_waiting_readings, most_rounds=2),
    Case("keys", "no-op worker, few keys and many", _keys, _growth_readings("keys")),
    Case("partitions", "no-op worker, 8 partitions and 2,000", _partitions, _partitions_readings),
    Case(
        "backlog",
        "all messages, each of its own key, are read while workers wait; then the workers go on",
        _backlog,
        _growth_readings("backlog"),
    ),
    Case("memory", "workers wait for ever, 100-byte messages", _memory, _memory_readings, most_rounds=2),
    Case(
        "large",
        "workers wait for ever, 10 KB messages, 8 MiB allowed",
        _memory_of_large,
        _memory_readings,
        most_rounds=2,
    ),
    *PROCESS_CASES,
    *THREAD_CASES,
    *SCALING_CASES,
)
