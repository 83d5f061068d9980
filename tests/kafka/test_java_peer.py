"""Java's parallel consumer runs in the benchmark, on the broker of these tests. Nothing here says how fast it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka_cluster import KafkaCluster

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "run_parallel_benchmark.py"


def test_javas_peer_does_all_the_work_in_every_variant(kafka: KafkaCluster, tmp_path: Path) -> None:
    if shutil.which("mvn") is None or shutil.which("javac") is None:
        pytest.skip("Java's peer is compiled by a JDK and Maven, and one of them was not found.")
    file = tmp_path / "results.json"
    command = [sys.executable, str(PROGRAM), "--bootstrap-servers", kafka.bootstrap_servers, "--output", str(file)]
    command += ["--num-messages", "300", "--num-keys", "20", "--num-partitions", "2", "--peers", "java"]
    skipped = ["--skip-baseline", "--skip-async", "--skip-thread", "--skip-process"]
    done = subprocess.run([*command, *skipped], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(file.read_text())
    assert results["missing"] == {}
    laps = results["laps"]
    assert [lap["round"] for lap in laps] == [0] * (len(laps) - 1) + [1]
    for lap in laps:
        assert lap["error"] == "", lap
        assert lap["figures"]["finished"] == 300
        assert lap["figures"]["sampled"] == 300
        assert lap["figures"]["delivery_to_end_p50_ms"] >= 1.0  # the work sleeps 1 ms
