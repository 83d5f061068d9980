"""The benchmark beside peers runs, writes what it found, and makes a report. Nothing here says how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import ExecutionConfig

pytestmark = pytest.mark.xdist_group("race")  # what most of them read is made once, in one process

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "run_parallel_benchmark.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One small run of the command line's own workload, and its JSON."""
    file = tmp_path_factory.mktemp("race") / "results.json"
    size = ["--num-messages", "300", "--num-keys", "20", "--num-partitions", "4", "--timeout-sec", "60"]
    size += ["--workload", "cpu", "--worker-cpu-iterations", "100"]
    done = run(*size, "--key-distribution", "zipf", "--peers", "plain-tuned", "--output", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "P99 latency" in done.stdout
    results: dict[str, Any] = json.loads(file.read_text())
    return file, results


def test_baseline_every_engine_and_the_peer_that_was_asked_for_did_all_the_work(
    found: tuple[Path, dict[str, Any]],
) -> None:
    laps = {lap["contender"]: lap for lap in found[1]["laps"] if lap["round"]}
    assert list(laps) == ["plain", "async", "thread", "process", "plain-tuned"]
    trials = [(lap["contender"], lap["figures"]["finished"]) for lap in found[1]["laps"] if not lap["round"]]
    assert trials == [("plain-tuned", 300)] * 2
    for lap in laps.values():
        assert (lap["error"], lap["flaws"]) == ("", [])
        figures = lap["figures"]
        assert figures["finished"] == 300
        assert figures["messages_per_second"] > 0
        assert figures["sampled"] == 300
        assert 0 < figures["delivery_to_end_mean_ms"] <= figures["delivery_to_end_max_ms"]
        assert figures["delivery_to_end_p99_ms"] <= figures["delivery_to_end_max_ms"]


def test_a_report_with_plots_is_made_of_several_results_alone(
    found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    done = run("--report", str(found[0]), str(found[0]), "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    [report] = tmp_path.glob("report-*.md")
    [plot] = tmp_path.glob("report-*-computing.png")
    text = report.read_text()
    assert plot.name in text
    assert "2, interleaved" in text
    assert "| ours, processes |" in text
    assert "not measured" in text  # no target speaks of this workload


def test_targets_are_judged_by_the_median_of_the_ratios_within_rounds(
    found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    results = found[1]
    like: dict[str, Any] = results["laps"][0]

    def lap(number: int, contender: str, rate: float) -> dict[str, Any]:
        figures = like["figures"] | {"messages_per_second": rate}
        return {**like, "case": "noop", "round": number, "contender": contender, "figures": figures}

    laps = [lap(number, "async", rate) for number, rate in enumerate((60, 50, 90), 1)]
    laps += [lap(number, "java", 10.0) for number in (1, 2, 3)]
    laps += [lap(number, "plain-tuned", 201.0) for number in (1, 2, 3)]
    laps.append(lap(0, "java", 1.0))  # a trial counts for nothing
    contenders = dict.fromkeys(("async", "java", "plain-tuned"), results["contenders"]["async"])
    file = tmp_path / "made.json"
    made = {"laps": laps, "cases": {"noop": results["cases"]["cpu"]}, "contenders": contenders}
    file.write_text(json.dumps(results | made))
    done = run("--report", str(file), "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    [report] = tmp_path.glob("report-*.md")
    rows = report.read_text().splitlines()
    assert "| no work, by key, against Java | ≥ 6x | 6.00x (5.00 - 9.00) | met |" in rows
    assert "| no work, of the tuned plain loop, asyncio | ≥ 0.3 | 0.30 (0.25 - 0.45) | **missed** |" in rows


def test_an_unknown_case_is_refused_before_anything_runs() -> None:
    done = run("--cases", "nothing")
    assert done.returncode == 2
    assert "noop" in done.stderr


def test_every_contender_in_python_has_the_collector_look_as_often_as_this_library_has() -> None:
    told = "from race.lap_plan import GC_THRESHOLD; print(GC_THRESHOLD)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=PROGRAM.parent)
    assert int(done.stdout) == ExecutionConfig().gc_threshold
