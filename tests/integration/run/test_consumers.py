"""``run --consumers N``: members in processes of their own, under one signal, one endpoint and one exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from pyrallel_consumer import EmbeddedBroker
from tests.integration.conftest import NewTopic, Produce
from tests.integration.program import Program
from tests.integration.run.runs import Runs, quick_environment

PATIENCE_SECONDS = 60.0
WORKERS = """
import asyncio, os, time
from pathlib import Path


async def note(item):
    with Path("done").open("a") as done:
        done.write(f"{item.partition} {item.offset} {os.getpid()}\\n")


async def hang(item):
    print("running", os.getpid(), flush=True)
    while not Path("go-on").exists():
        await asyncio.sleep(0.01)
    await note(item)


async def swallow(item):
    print("running", os.getpid(), flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            pass


def block(item):
    print("running", os.getpid(), flush=True)
    while True:
        time.sleep(0.01)


async def beside(item):
    await asyncio.to_thread(block, item)


async def hold_the_loop(item):
    block(item)


async def refuse(item):
    raise ValueError("no such customer")
"""


@pytest.fixture
def runs(embedded_broker: EmbeddedBroker, tmp_path: Path) -> Runs:
    (tmp_path / "app.py").write_text(WORKERS)
    return Runs(tmp_path, quick_environment(embedded_broker))


def done_in(folder: Path) -> list[tuple[int, int, int]]:
    """Partition, offset and process of each message."""
    found = folder / "done"
    lines = found.read_text().split("\n")[:-1] if found.exists() else []
    return [(int(partition), int(offset), int(pid)) for partition, offset, pid in map(str.split, lines)]


def wait_until(condition: Callable[[], object], what: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def asked(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def member_pids(program: Program) -> dict[int, int]:
    found = (re.search(r"member (\d+) of \d+ is process (\d+)", line) for line in program.said)
    return {int(match[1]): int(match[2]) for match in found if match}


def test_members_share_the_partitions_and_one_signal_drains_them_all(
    runs: Runs, new_topic: NewTopic, produce: Produce
) -> None:
    topic, port = new_topic(4), free_port()
    with runs.started("app:note", "--topic", topic, "--consumers", "2", "--metrics-port", str(port)) as program:
        program.until(lambda line: "member 2 of 2 is process" in line, "the second member")
        pids = set(member_pids(program).values())
        wait_until(lambda: asked(port, "/readyz")[0] == HTTPStatus.OK, "both are ready")
        wait_until(
            lambda: (
                {each["in_flight"] for each in json.loads(asked(port, "/snapshot.json")[1])["consumers"]} == {0}
                and {len(each["partitions"]) for each in json.loads(asked(port, "/snapshot.json")[1])["consumers"]}
                == {2}
            ),
            "each has two partitions",
        )
        produce(topic, 200, partitions=4)
        wait_until(lambda: len(done_in(runs.folder)) >= 200, "all is done")
        assert {pid for _, _, pid in done_in(runs.folder)} == pids

        def processed() -> float:
            page = asked(port, "/metrics")[1]
            return sum(
                float(count) for count in re.findall(r"^consumer_processed_total\{.*\} (.*)$", page, re.MULTILINE)
            )

        wait_until(lambda: processed() == 200, "the metrics add up")
        status = json.loads(asked(port, "/status.json?consumer=member+2&since=")[1])
        assert status["consumers"] == ["member 1", "member 2"]
        assert status["consumer"] == "member 2"
        assert status["group"] == runs.environment["KAFKA_CONSUMER_GROUP"]
        assert {each["member"] for each in json.loads(asked(port, "/livez")[1])["consumers"]} == {1, 2}
        assert asked(port, "/")[0] == HTTPStatus.OK
        program.send(signal.SIGTERM)
        assert program.exit_code() == 0
    assert runs.committed(topic, 4) == [50] * 4
    for number in (1, 2):
        assert any(f"[{number}]" in line and "stopped after" in line for line in program.said)


def test_a_member_that_dies_is_started_again_and_the_others_go_on(
    runs: Runs, new_topic: NewTopic, produce: Produce
) -> None:
    topic = new_topic(2)
    with runs.started("app:note", "--topic", topic, "--consumers", "2") as program:
        program.until(lambda line: "member 2 of 2 is process" in line, "the second member")
        before = member_pids(program)
        os.kill(before[1], signal.SIGKILL)
        program.until(lambda line: "member 1 ended with exit code 137" in line, "its end")
        program.until(lambda line: "member 1 of 2 is process" in line, "its next process")
        after = member_pids(program)
        assert after[1] != before[1]
        assert after[2] == before[2]
        produce(topic, 100, partitions=2)
        wait_until(lambda: len({each[:2] for each in done_in(runs.folder)}) == 100, "all is done")
        program.send(signal.SIGINT)
        assert program.exit_code() == 0
    assert runs.committed(topic, 2) == [50, 50]


def test_a_second_signal_aborts(runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
    topic = new_topic(2)
    produce(topic, 20, partitions=2)
    with runs.started("app:hang", "--topic", topic, "--consumers", "2") as program:
        program.until(lambda line: line.startswith("running"), "a message")
        program.send(signal.SIGINT)
        program.until(lambda line: "draining" in line, "draining")
        program.send(signal.SIGINT)
        assert program.exit_code() == 130


@pytest.mark.parametrize(
    "case", ["1 swallow async", "2 swallow async", "2 beside async", "2 swallow process", "2 block thread"]
)
def test_a_second_signal_ends_workers_that_swallow_every_cancellation(
    runs: Runs, new_topic: NewTopic, produce: Produce, case: str
) -> None:
    consumers, worker, mode = case.split()
    topic = new_topic(2)
    produce(topic, 20, partitions=2)
    with runs.started(f"app:{worker}", "--topic", topic, "--consumers", consumers, "--mode", mode) as program:
        program.until(lambda line: line.startswith("running"), "a message")
        program.send(signal.SIGTERM)
        program.until(lambda line: "draining" in line, "draining")
        program.send(signal.SIGTERM)
        assert program.exit_code() == 143


def test_a_member_whose_loop_hears_no_signal_is_killed_after_the_second(
    runs: Runs, new_topic: NewTopic, produce: Produce
) -> None:
    topic = new_topic(1)
    produce(topic, 1)
    with runs.started("app:hold_the_loop", "--topic", topic, "--consumers", "2") as program:
        program.until(lambda line: line.startswith("running"), "a message")
        program.send(signal.SIGINT)
        program.send(signal.SIGTERM)
        assert program.exit_code() in {130, 143}


def test_a_burst_ends_when_all_members_are_done(runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
    topic = new_topic(4)
    produce(topic, 200, partitions=4)
    done = runs.done("app:note", "--topic", topic, "--consumers", "2", "--burst")
    assert done.returncode == 0, done.stderr
    assert runs.committed(topic, 4) == [50] * 4
    assert {each[:2] for each in done_in(runs.folder)} == {
        (partition, offset) for partition in range(4) for offset in range(50)
    }
    for number in (1, 2):
        assert f"[{number}] The burst is done: 4 partitions are committed" in done.stdout


def test_a_member_that_is_killed_in_a_burst_is_started_again(runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
    topic = new_topic(2)
    produce(topic, 20, partitions=2)
    with runs.started("app:hang", "--topic", topic, "--consumers", "2", "--burst") as program:
        program.until(lambda line: line.startswith("running"), "a message")
        os.kill(member_pids(program)[1], signal.SIGKILL)
        program.until(lambda line: "member 1 ended with exit code 137" in line, "its end")
        program.until(lambda line: "member 1 of 2 is process" in line, "its next process")
        (runs.folder / "go-on").touch()
        assert program.exit_code() == 0
    assert runs.committed(topic, 2) == [10, 10]


def test_the_exit_code_of_a_burst_tells_of_dead_letters(runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
    topic = new_topic(2)
    produce(topic, 2, partitions=2)
    done = runs.done(
        *("app:refuse", "--topic", topic, "--consumers", "2", "--burst", "--max-attempts", "1"),
        "--fail-on-dead-letters",
    )
    assert done.returncode == 1, done.stderr


def test_members_drain_when_their_supervisor_is_killed(runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
    topic = new_topic(1)
    produce(topic, 1)
    with runs.started("app:hang", "--topic", topic, "--consumers", "2") as program:
        program.until(lambda line: line.startswith("running"), "a message")
        program.send(signal.SIGKILL)
        program.until(lambda line: "draining" in line, "draining")
        (runs.folder / "go-on").touch()
        program.until_said("(the end)")
    assert runs.committed(topic) == [1]


def test_the_check_tells_of_members_without_a_partition(runs: Runs, new_topic: NewTopic) -> None:
    topic = new_topic(2)
    done = runs.done("app:note", "--topic", topic, "--consumers", "3", "--check")
    assert done.returncode == 0
    assert re.search(
        r"warning +consumers +3 consumers for 2 partitions: 1 of them will have nothing to do", done.stdout
    )
    done = runs.done("app:note", "--topic", topic, "--consumers", "2", "--check")
    assert re.search(r"ok +consumers +2 consumers for 2 partitions", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("app:nobody",), "app:nobody"),
        (("app:note", "--reload"), "--consumers and --reload do not go together"),
        (("app:note", "--consumers", "0"), "consumers"),
    ],
)
def test_what_does_not_fit_ends_it_with_2(
    runs: Runs, new_topic: NewTopic, arguments: tuple[str, ...], words: str
) -> None:
    worker, *more = arguments
    done = runs.done(worker, "--topic", new_topic(1), "--consumers", "2", *more)
    assert done.returncode == 2
    assert words in done.stderr
