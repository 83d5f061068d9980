"""The real `pyrallel-consumer demo`, as a process of its own, with few messages."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("pyrallel-consumer")
DEADLINE_SECONDS = 120.0
SMALL = ("--messages", "2000", "--keys", "50", "--worker-ms", "1")


def settings_of_nobody(**environment: str) -> dict[str, str]:
    """This process's environment without the library's variables, plus the test's variables."""
    ours = ("KAFKA_", "EXECUTION_", "PARALLEL_CONSUMER_", "METRICS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | environment


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
        env=settings_of_nobody(**environment),
    )


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """A commit may meet the change of the group as the second consumer joins or leaves; its offsets are sent again."""
    return [line for line in done.stderr.splitlines() if not line.endswith("The member epoch is stale")]


def verdict_in(text: str) -> dict[str, Any]:
    found = json.loads(text.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_a_run_without_a_terminal_prints_plain_lines_and_the_verdict_as_json_on_the_last_one() -> None:
    done = run_demo(*SMALL, "--partitions", "4", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    verdict = verdict_in(done.stdout)
    assert verdict["processed"] == 2000
    assert (verdict["order_violations"], verdict["duplicates"], verdict["committed_to_end"]) == (0, 0, True)
    assert verdict["sequential_bound_per_second"] == 1000.0
    assert verdict["messages_per_second"] == pytest.approx(2000 / verdict["seconds"], rel=0.01)
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    assert "Every promise was kept." in done.stdout
    assert complaints(done) == []


def test_the_second_consumer_takes_partitions_and_works_before_it_leaves() -> None:
    done = run_demo(*SMALL, "--partitions", "4", "--json")

    verdict = verdict_in(done.stdout)
    assert 0 < verdict["second_consumer_partitions"] < 4
    assert 0 < verdict["second_consumer_processed"] < 2000


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--messages", "1"), id="one message"),
        pytest.param(("--messages", "300", "--keys", "1", "--worker-ms", "0.5"), id="one key"),
        pytest.param(("--messages", "300", "--partitions", "1"), id="one partition"),
        pytest.param(("--messages", "40", "--keys", "5", "--worker-ms", "300", "--partitions", "2"), id="slow workers"),
        pytest.param(("--messages", "500", "--keys", "5000", "--partitions", "50"), id="hardly a message per key"),
    ],
)
def test_every_promise_is_kept_at_the_ends_of_the_scale(arguments: tuple[str, ...]) -> None:
    done = run_demo(*arguments, "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert verdict_in(done.stdout)["ok"] is True


def test_consumption_without_order_by_key_is_found_out() -> None:
    done = run_demo(*SMALL, "--json", PARALLEL_CONSUMER_ORDERING_MODE="unordered")

    assert done.returncode == 1
    verdict = verdict_in(done.stdout)
    assert verdict["processed"] == 2000
    assert verdict["order_violations"] > 0
    assert "A promise was broken." in done.stdout


def test_an_unreachable_broker_is_a_clear_error_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_demo("--bootstrap-servers", address)

    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("Error: ")
    assert address in error
    assert "Traceback" not in done.stderr


@contextmanager
def running_demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A demo in a process group of its own, as under a shell; killed after the test if need be."""
    process = subprocess.Popen(
        [COMMAND, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=settings_of_nobody(PYTHONUNBUFFERED="1"),
    )
    watchdog = threading.Timer(DEADLINE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        with process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def lines_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    read = []
    for line in process.stdout:
        read.append(line)
        if words in line:
            return
    pytest.fail(f"the demo ended without {words!r}: {''.join(read)}")


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_drains_and_gives_the_verdict_so_far_as_incomplete(number: signal.Signals, exit_code: int) -> None:
    with running_demo("--messages", "20000", "--keys", "15", "--worker-ms", "20", "--json") as process:
        lines_until(process, "in flight    1")  # ten or more, of 15 keys, in a column of five figures
        os.killpg(process.pid, number)
        rest, _ = process.communicate()

    assert process.returncode == exit_code
    verdict = verdict_in(rest)
    assert verdict["stopped_because"] == f"stopped by {number.name}"
    assert 0 < verdict["processed"] < 20_000
    assert (verdict["order_violations"], verdict["duplicates"], verdict["committed_to_end"]) == (0, 0, False)
    assert "Incomplete: " in rest
    assert "Traceback" not in rest


def test_ctrl_c_while_the_orders_are_produced_ends_it_too() -> None:
    with running_demo("--messages", "2000000") as process:
        lines_until(process, "broker")
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate()

    assert process.returncode == 130, rest
    assert "Traceback" not in rest


def test_under_a_terminal_the_view_is_redrawn_and_the_verdict_stands_below() -> None:
    ours, theirs = pty.openpty()
    environment = settings_of_nobody(TERM="xterm-256color", COLUMNS="110", LINES="35")
    with subprocess.Popen(
        [COMMAND, "demo", *SMALL], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:
            pass  # Linux reports the other end's close this way
        finally:
            os.close(ours)

    text = shown.decode()
    assert process.returncode == 0, text
    assert text.index("partition") < text.index("Every promise was kept.")
    assert "\x1b[" in text


def test_with_a_fail_rate_every_order_is_processed_or_dead_lettered() -> None:
    done = run_demo(*SMALL, "--partitions", "4", "--fail-rate", "0.2", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    verdict = verdict_in(done.stdout)
    assert verdict["processed"] + verdict["dead_lettered"] == 2000
    assert verdict["dead_lettered"] > 100
    assert verdict["retried"] > 100
    assert verdict["committed_to_end"] is True
    assert "that always fail have their dead letter" in done.stdout
    assert complaints(done) == []


def test_a_fail_rate_keeps_its_promises_at_the_end_of_the_scale() -> None:
    done = run_demo("--messages", "300", "--keys", "3", "--worker-ms", "1", "--fail-rate", "0.5", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert verdict_in(done.stdout)["ok"] is True
