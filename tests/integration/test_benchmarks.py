"""The benchmark program runs every case and writes sound figures. Nothing here says how fast anything is."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("benchmarks")  # what all of them read is made once, in one process

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "overhead.py"
LOOP_CASES = (
    "noop",
    "batches",
    "metrics",
    "lanes",
    "many-lanes",
    "preludes",
    "idle",
    "waiting",
    "keys",
    "partitions",
    "backlog",
)
MEMORY_CASES = ("memory", "large")
POOL_CASES = ("process-noop", "process-zipf", "process-cpu", "process-payload", "thread-cpu", "thread-wait")
SCALING_CASES = ("scaling-100us-5ms", "scaling-0us-5ms", "scaling-noop", "scaling-http", "scaling-members")
CASES = LOOP_CASES + MEMORY_CASES + POOL_CASES + SCALING_CASES


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of one quick run of everything."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, str(PROGRAM), "--quick", "--rounds", "1", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = folder.glob("overhead-*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_every_case_runs_without_flaw(report: dict[str, Any]) -> None:
    [measured] = report["pythons"]
    assert [case["name"] for case in measured["cases"]] == list(CASES)
    assert [(case["name"], case["error"], case["flaws"]) for case in measured["cases"]] == [
        (name, "", []) for name in CASES
    ]


def test_every_figure_is_a_number_and_every_reading_comes_from_the_rounds(report: dict[str, Any]) -> None:
    for case in report["pythons"][0]["cases"]:
        [one] = case["rounds"]
        assert all(math.isfinite(value) for figures in one.values() for value in figures.values())
        assert case["outcomes"], case["name"]
        for outcome in case["outcomes"]:
            assert outcome["lowest"] <= outcome["median"] <= outcome["highest"]
            assert (outcome["target"] == "") == (outcome["is_met"] is None)


def test_the_report_names_what_was_measured_and_where(report: dict[str, Any]) -> None:
    assert report["broker"].startswith("embedded broker")
    assert report["machine"]["cores"] >= 1
    assert report["pythons"][0]["python"]["version"] == ".".join(map(str, sys.version_info[:3]))


def test_an_unknown_case_is_refused_before_anything_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--cases", "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "noop" in done.stderr


def test_hot_spots_are_the_leaves_below_the_loop_and_the_poll_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    counted = importlib.import_module("hot_spots").counted
    loop = "<module> (measured.py:59);run (asyncio/runners.py:195);Runner.run (asyncio/runners.py:118)"
    go_on = "WorkManager.go_on (/x/pyrallel_consumer/control/work.py"
    stacks = [
        f"{loop};Handle._run (/lib/python3/asyncio/events.py:89);{go_on}:220) 7",
        f"{loop};{go_on}:231) 2",
        "Thread.run (threading.py:1);PollThread._turn (/x/pyrallel_consumer/poll.py:9);Reader.read (reader.py:3) 4",
        "<module> (measured.py:3);<module> (json/__init__.py:1) 50",
    ]
    assert counted(stacks) == {
        ("loop", "WorkManager.go_on (pyrallel_consumer/control/work.py)"): 9,
        ("poll thread", "Reader.read (reader.py)"): 4,
    }
