"""The cases that the command line describes: one per workload, measured on the sequential consumer and on every
engine.
"""

from __future__ import annotations

import argparse
from typing import Final

from race.cases import PEERS, Case
from race.traffic import Traffic

WORKLOADS: Final = ("sleep", "cpu", "io")
ENGINES: Final = ("async", "thread", "process")


def workload_cases(arguments: argparse.Namespace) -> list[Case]:
    """In the order in which they were asked for."""
    traffic = Traffic(arguments.num_messages, arguments.num_keys, arguments.key_distribution)
    questions = {
        "sleep": f"sleeps {arguments.worker_sleep_ms:g} ms",
        "io": f"waits {arguments.worker_io_sleep_ms:g} ms for a socket (async: on the loop)",
        "cpu": f"{arguments.worker_cpu_iterations} rounds of sha256",
    }
    waits_ms = {"sleep": arguments.worker_sleep_ms, "io": arguments.worker_io_sleep_ms, "cpu": 0.0}
    return [
        Case(
            workload,
            f"{questions[workload]}, {traffic.keys:,} keys ({traffic.distribution})",
            workload,
            traffic,
            ("plain", *ENGINES, *PEERS[1:]),
            work=workload,
            work_ms=waits_ms[workload],
            cpu_rounds=arguments.worker_cpu_iterations,
            partitions=arguments.num_partitions,
            cap_seconds=arguments.timeout_sec,
        )
        for workload in dict.fromkeys(arguments.workload or ["sleep"])
    ]
