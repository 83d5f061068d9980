"""What the Ray engine does on two nodes of one CPU each, on this machine: without Kafka, in the environment of Ray.

    make .venv-ray/.synced && .venv-ray/bin/python benchmarks/ray_engine.py

Messages that cost nothing, in frames; and 500 rounds of sha256 a message, against one process that does nothing else.
Rounds alternate. The last lines are the medians and their targets.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from engine_workers import do_nothing, hash_often

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan, Cluster
from pyrallel_consumer.execution_plane.ray.ray_engine import RayEngine
from pyrallel_consumer.testing.engine_contract.rig import Rig
from pyrallel_consumer.testing.messages import work_item

NODES: Final = 2
SLOTS: Final = 20_000
NOOP_ITEMS, HASHED_ITEMS = 300_000, 20_000
LEAST_NOOP: Final = 50_000
LEAST_HASHED: Final = 1.5
PORTS: Final = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the items: shows that it runs")
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "600")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415 -- after its settings
    from ray.cluster_utils import Cluster as Nodes  # noqa: PLC0415 -- as above

    nodes = Nodes(initialize_head=True, head_node_args={**node_settings(), "include_dashboard": False})
    for _ in range(NODES - 1):
        nodes.add_node(**node_settings())
    ray.init(address=nodes.address, log_to_driver=False)
    try:
        return measure(arguments.rounds, 10 if arguments.quick else 1)
    finally:
        ray.shutdown()
        nodes.shutdown()


def node_settings() -> dict[str, Any]:
    """A node of one CPU on the loopback, with ports of its own."""
    with ExitStack() as probes:
        listening = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        ports = {name: probe.getsockname()[1] for name, probe in zip(PORTS, listening, strict=True)}
    return {"node_ip_address": "127.0.0.1", "object_store_memory": 100 * 1024 * 1024, "num_cpus": 1, **ports}


def measure(rounds: int, divisor: int) -> int:
    noop: list[float] = []
    ratios: list[float] = []
    for number in range(rounds):
        noop.append(asyncio.run(through_ray(do_nothing, NOOP_ITEMS // divisor)))
        alone = in_this_process(HASHED_ITEMS // divisor)
        hashed = asyncio.run(through_ray(hash_often, HASHED_ITEMS // divisor))
        ratios.append(hashed / alone)
        print(
            f"round {number + 1}: no-op {noop[-1]:,.0f} items/s; sha256 {hashed:,.0f}/s on {NODES} nodes, "
            f"{alone:,.0f}/s in one process; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    rate, ratio = statistics.median(noop), statistics.median(ratios)
    print(f"no-op in frames: {rate:,.0f} items/s, target {LEAST_NOOP:,}: {verdict(rate, LEAST_NOOP)}")
    print(f"{NODES} nodes / one process: {ratio:.2f} x, target {LEAST_HASHED} x: {verdict(ratio, LEAST_HASHED)}")
    return 0 if rate >= LEAST_NOOP and ratio >= LEAST_HASHED else 1


def verdict(measured: float, least: float) -> str:
    return "pass" if measured >= least else "MISS"


async def through_ray(worker: Callable[[Any], object], count: int) -> float:
    """Items a second; each actor has had one before."""
    plan = ActorPlan(NODES, NODES, 1, 0, {}, {})
    policy = RetryPolicy(max_attempts=1, timeout_ms=0)
    rig = Rig(RayEngine(worker, policy, SLOTS, Cluster("auto", plan), is_async=False, start_seconds=120))
    await rig.start()
    try:
        await rig.submit_all(items(200))
        await rig.until_finished(200)
        waiting = items(count)
        began_at = time.perf_counter()
        await rig.submit_all(waiting)
        await rig.until_finished(count + 200)
        seconds = time.perf_counter() - began_at
        assert len(rig.successes) == count + 200
        return count / seconds
    finally:
        await rig.engine.stop(2)


def in_this_process(count: int) -> float:
    waiting = items(count)
    began_at = time.perf_counter()
    for item in waiting:
        hash_often(item)
    return count / (time.perf_counter() - began_at)


def items(count: int) -> list[WorkItem]:
    return [work_item(b"x" * 100, offset=number) for number in range(count)]


if __name__ == "__main__":
    sys.exit(main())
