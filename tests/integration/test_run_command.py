"""The real ``pyrallel-consumer run``, as a process of its own, on a worker that lies in a folder beside."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, WorkItem
from tests.integration.conftest import Produce
from tests.integration.consuming import execution, kafka, until
from tests.integration.program import Program
from tests.integration.runs import Runs, quick_environment

NewTopic = Callable[[int], str]
WORKERS = """
import asyncio, logging, os, threading, time
from pathlib import Path

log = logging.getLogger("app")


async def handle(item):
    if item.payload == b"bad":
        raise ValueError("bad")
    if item.offset == 0:
        loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
        log.info("first", extra={"topic": item.topic, "offset": item.offset, "loop": loop})


async def wait_for_the_end(item):
    print("running", item.offset, flush=True)
    while not Path("go-on").exists():
        await asyncio.sleep(0.01)


def block(item):
    os.write(1, f"in {threading.current_thread().name}\\n".encode())


def compute(item):
    met = Path("met")
    met.mkdir(exist_ok=True)
    (met / str(os.getpid())).touch()
    while len(list(met.iterdir())) < 2:
        time.sleep(0.01)
    log.info("computed", extra={"offset": item.offset, "child": os.getpid()})
"""

LOG_CONFIGS = {
    "logging.json": """{
        "formatters": {"mine": {"format": "MINE %(message)s"}},
        "handlers": {"all": {"class": "logging.StreamHandler", "formatter": "mine"}},
        "root": {"handlers": ["all"], "level": "INFO"}
    }""",
    "logging.toml": """
        formatters.mine.format = "MINE %(message)s"
        handlers.all = {class = "logging.StreamHandler", formatter = "mine"}
        root = {handlers = ["all"], level = "INFO"}
    """,
    "logging.ini": "\n".join(
        (
            *("[loggers]", "keys=root", "[handlers]", "keys=all", "[formatters]", "keys=mine"),
            *("[formatter_mine]", "format=MINE %(message)s"),
            *("[handler_all]", "class=StreamHandler", "args=()", "formatter=mine"),
            *("[logger_root]", "handlers=all", "level=INFO"),
        )
    ),
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the workers in ``app.py``: where each command here is started."""
    (tmp_path / "app.py").write_text(WORKERS)
    return tmp_path


@pytest.fixture
def environment(embedded_broker: EmbeddedBroker) -> dict[str, str]:
    return quick_environment(embedded_broker)


@pytest.fixture
def runs(app: Path, environment: dict[str, str]) -> Runs:
    return Runs(app, environment)


def logged(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def offsets_said(running: Program, what: str) -> set[int]:
    return {int(line.split()[-1]) for line in running.said if line.startswith(what)}


class TestBurst:
    """``--burst``: it reads to the end of the log at the start, and ends."""

    def test_it_ends_with_0_and_a_summary_when_all_is_committed(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(4)
        produce(topic, 1000, partitions=4)

        done = runs.done("app:handle", "--topic", topic, "--burst", "--log-format", "json")

        assert done.returncode == 0, done.stderr
        assert runs.committed(topic, 4) == [250] * 4
        verdict = json.loads(done.stdout)
        assert (verdict["ok"], verdict["processed"], verdict["failed"]) == (True, 1000, 0)
        first = [line for line in logged(done.stderr) if line["message"] == "first"]
        assert {(line["topic"], line["offset"], line["logger"], line["level"]) for line in first} == {
            (topic, 0, "app", "info")
        }
        assert {line["loop"] for line in first} == {"uvloop"}
        again = runs.done("app:handle", "--topic", topic, "--burst")
        assert (again.returncode, again.stderr) == (0, "")
        assert "4 partitions are committed up to where their logs ended" in again.stdout
        assert "0 messages processed" in again.stdout

    def test_processes_of_a_number_run_it_and_their_logs_come_as_everybody_s(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(2)
        produce(topic, 200, partitions=2)

        done = runs.done(
            *("app:compute", "--topic", topic, "--mode", "process", "--concurrency", "2"),
            *("--burst", "--log-format", "json"),
        )

        assert done.returncode == 0, done.stderr
        computed = [line for line in logged(done.stderr) if line["message"] == "computed"]
        assert len(computed) == 200
        assert len({line["child"] for line in computed}) == 2
        assert runs.committed(topic, 2) == [100, 100]

    def test_a_partition_that_a_bad_message_has_paused_ends_it_with_1(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(2)
        produce(topic, 20, value_of=lambda i: b"bad" if i == 6 else b"good", partitions=2)

        done = runs.done("app:handle", "--topic", topic, "--burst", EXECUTION_ON_EXHAUSTED="pause_partition")

        assert done.returncode == 1, done.stderr
        assert f"The burst is stuck: messages that failed their last attempt have paused {topic}[0]" in done.stdout
        assert runs.committed(topic, 2) == [3, 10]

    @pytest.mark.parametrize(("flag", "code"), [("--fail-on-dead-letters", 1), ("--no-fail-on-dead-letters", 0)])
    def test_what_failed_is_counted_apart_and_fails_the_burst_where_that_is_asked_for(
        self, runs: Runs, new_topic: NewTopic, produce: Produce, flag: str, code: int
    ) -> None:
        topic = new_topic(2)
        produce(topic, 20, value_of=lambda i: b"bad" if i == 6 else b"good", partitions=2)

        done = runs.done("app:handle", "--topic", topic, "--burst", flag, EXECUTION_ON_EXHAUSTED="skip")

        assert done.returncode == code, done.stderr
        assert "20 messages processed, 19 succeeded, 1 failed" in done.stdout
        assert runs.committed(topic, 2) == [10, 10]

    async def test_what_another_member_has_is_waited_for(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(2)
        produce(topic, 20, partitions=2)
        group, is_open = runs.environment["KAFKA_CONSUMER_GROUP"], False

        async def worker(item: WorkItem) -> None:
            await until(lambda: is_open)

        servers = runs.environment["KAFKA_BOOTSTRAP_SERVERS"]
        async with PyrallelConsumer(
            kafka(servers, group), worker, topic, execution_config=execution(max_revoke_grace_ms=0)
        ) as other:
            await until(lambda: other.get_runtime_snapshot().in_flight)
            with runs.started("app:handle", "--topic", topic, "--burst") as burst:
                await until(lambda: runs.committed(topic, 2).count(10) == 1)
                assert burst.is_running
                is_open = True
                await until(lambda: not burst.is_running)
                assert burst.exit_code() == 0
        assert runs.committed(topic, 2) == [10, 10]


class TestSignals:
    """The first signal drains, the second aborts; a burst that was cut short fails."""

    def test_the_first_lets_running_work_finish_and_commits_it(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3") as running:
            running.until_said("running 2")
            running.send(signal.SIGTERM)
            running.until(lambda line: "SIGTERM: draining" in line, "draining")
            (runs.folder / "go-on").touch()

            assert running.exit_code() == 0
            assert any("3 messages processed" in line for line in running.said)
        assert runs.committed(topic) == [3]

    def test_the_second_aborts_with_its_number(self, runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3") as running:
            running.until_said("running 2")
            running.send(signal.SIGINT)
            running.until(lambda line: "SIGINT: draining" in line, "draining")
            running.send(signal.SIGINT)

            assert running.exit_code() == 128 + signal.SIGINT
        assert runs.committed(topic) == [0]

    def test_a_drain_that_is_cut_off_says_what_it_left_and_has_an_exit_code_of_its_own(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        runs.environment["EXECUTION_SHUTDOWN_DRAIN_TIMEOUT_MS"] = "100"
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3") as running:
            running.until_said("running 2")
            running.send(signal.SIGTERM)

            assert running.exit_code() == 3
            names = ", ".join(f"{topic}-0-{offset}" for offset in range(3))
            assert any(f"3 messages were cut off and will run again: {names}" in line for line in running.said)
            assert any("0 messages processed, 3 cut off unfinished" in line for line in running.said)
        assert runs.committed(topic) == [0]

    def test_a_burst_that_a_signal_cut_short_says_so(self, runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3", "--burst") as running:
            running.until_said("running 2")
            running.send(signal.SIGTERM)
            running.until(lambda line: "draining" in line, "draining")
            (runs.folder / "go-on").touch()

            assert running.exit_code() == 128 + signal.SIGTERM
            assert any("did not come to its end" in line for line in running.said)
        assert runs.committed(topic) == [3]


class TestReload:
    """``--reload``: the old run drains, and then the new one begins."""

    FIRST = """
import os, time

def handle(item):
    os.write(1, b"one has %d\\n" % item.offset)
    time.sleep(0.2)
    os.write(1, b"one did %d\\n" % item.offset)
"""

    def test_a_change_drains_the_old_run_and_starts_the_new_code_and_a_mistake_waits_for_the_next_change(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 400, key_of=lambda i: b"%d" % i)
        module = runs.folder / "live.py"
        module.write_text(self.FIRST)
        with runs.started(
            "live:handle", "--topic", topic, "--mode", "thread", "--concurrency", "4", "--reload"
        ) as live:
            live.until(lambda line: line.startswith("one did"), "one did")
            module.write_text("def handle(item:\n")
            live.until(lambda line: "ended with exit code 1; waiting for a change" in line, "waiting for a change")
            ones = offsets_said(live, "one did")
            assert offsets_said(live, "one has") == ones
            assert any("SyntaxError" in line for line in live.said)
            module.write_text("import os\n\ndef handle(item):\n    os.write(1, b'two has %d\\n' % item.offset)\n")
            live.until(lambda _: len(offsets_said(live, "two has")) == 400 - len(ones), "two has what one has not done")
            assert offsets_said(live, "two has") | ones == set(range(400))
            live.send(signal.SIGINT)

            assert live.exit_code() == 0
        assert runs.committed(topic) == [400]

    def test_the_run_drains_when_the_process_that_watches_is_killed(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3", "--reload") as live:
            live.until_said("running 2")
            live.send(signal.SIGKILL)
            live.until(lambda line: "draining" in line, "draining")
            (runs.folder / "go-on").touch()
            live.until_said("(the end)")
        assert runs.committed(topic) == [3]


class TestCheck:
    """``--check``: a table of everything that a run needs, and an exit code that says who has to act."""

    def test_everything_there_is_0_and_nothing_is_consumed(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(3)
        produce(topic, 30, partitions=3)

        done = runs.done("app:handle", "--topic", topic, "--check")

        assert (done.returncode, done.stderr) == (0, "")
        found = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
        assert [words[:2] for words in found] == [
            ["ok", "settings"],
            ["ok", "worker"],
            ["ok", "broker"],
            ["ok", "protocol"],
            ["ok", "topic"],
            ["ok", "group"],
            ["warning", "dead"],
        ]
        assert found[3][2].startswith("classic: heartbeat.interval.ms, session.timeout.ms are set")
        assert found[4][2] == f"{topic}: 3 partitions"
        assert "nothing yet; it begins at the earliest offset; 30 messages to do" in found[5][2]
        assert f"{topic}.dlq: not there" in found[6][2]
        assert runs.committed(topic, 3) == [0, 0, 0]

    def test_the_group_protocol_that_would_be_chosen_is_told(self, runs: Runs) -> None:
        def told(broker: EmbeddedBroker, protocol: str) -> str:
            where = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "KAFKA_LIBRDKAFKA": ""}
            done = runs.done("app:handle", "--topic", "orders", "--check", KAFKA_GROUP_PROTOCOL=protocol, **where)
            return next(line for line in done.stdout.splitlines() if " protocol " in line)

        with EmbeddedBroker({"orders": 1}) as broker:
            assert re.fullmatch(r"ok +protocol +consumer *", told(broker, ""))
            broker.withdraw("consumer_group_heartbeat")
            assert re.match(r"ok +protocol +classic: a broker does not have consumer", told(broker, "auto"))
            assert re.fullmatch(r"ok +protocol +classic *", told(broker, "classic"))
            assert re.match(r"error +protocol +.*no broker has it", told(broker, "consumer"))

    def test_all_that_is_wrong_is_told_at_once(self, runs: Runs, new_topic: NewTopic) -> None:
        topic = new_topic(1)
        (runs.folder / "bad.py").write_text("import json\n\n\ndef lost():\n    return {}['x']\n\n\nlost()\n")

        done = runs.done(
            *("bad:handle", "--topic", topic, "--topic", "nowhere", "--check", "--log-format", "json"),
            KAFKA_CONSUMER_GRUP="x",
        )

        assert (done.returncode, done.stderr) == (1, "")
        found = json.loads(done.stdout)
        assert found["ok"] is False
        verdicts = {(each["subject"], each["verdict"]) for each in found["findings"]}
        assert verdicts >= {("settings", "warning"), ("worker", "failed"), ("topic", "ok"), ("topic", "failed")}
        assert "did you mean KAFKA_CONSUMER_GROUP?" in done.stdout
        [worker] = [each for each in found["findings"] if each["subject"] == "worker"]
        frames = [line.strip() for line in worker["traceback"].splitlines() if line.strip().startswith("File")]
        assert [frame.split(", ")[0] for frame in frames] == [f'File "{runs.folder / "bad.py"}"'] * 2

    def test_an_initializer_that_fails_is_found(self, runs: Runs, new_topic: NewTopic) -> None:
        (runs.folder / "setup.py").write_text("def connect():\n    raise OSError('no database')\n")

        done = runs.done(
            *("app:block", "--topic", new_topic(1), "--mode", "process", "--check"),
            EXECUTION_INITIALIZER="setup:connect",
        )

        assert done.returncode != 0
        assert "no database" in done.stdout
        assert "Traceback" not in done.stderr

    def test_the_group_that_nobody_named_is_a_finding(self, runs: Runs, new_topic: NewTopic) -> None:
        done = runs.done("app:handle", "--topic", new_topic(1), "--check", KAFKA_CONSUMER_GROUP="")

        assert done.returncode == 0
        assert re.search(r"^warning +group +.*KAFKA_CONSUMER_GROUP", done.stdout, re.MULTILINE)

    def test_a_worker_that_does_not_fit_is_2_also_where_the_broker_is_away(self, runs: Runs) -> None:
        done = runs.done("app:block", "--topic", "orders", "--check", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")

        assert (done.returncode, done.stderr) == (2, "")
        assert "Connection refused" in done.stdout
        assert "--mode thread or --mode process" in done.stdout


class TestLogging:
    """Who sets up logging: the worker's module, a file, or ``run``."""

    def test_what_the_worker_s_module_has_set_up_is_left_alone(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 1)
        setup = "import logging\nlogging.basicConfig(format='MINE %(message)s', level='INFO')\nfrom app import handle\n"
        (runs.folder / "logs.py").write_text(setup)

        done = runs.done("logs:handle", "--topic", topic, "--burst", "--log-format", "json")

        assert done.returncode == 0, done.stderr
        assert {line.split()[0] for line in done.stderr.splitlines()} == {"MINE"}

    @pytest.mark.parametrize(("name", "text"), LOG_CONFIGS.items())
    def test_a_file_says_what_is_logged_where(
        self, runs: Runs, new_topic: NewTopic, produce: Produce, name: str, text: str
    ) -> None:
        topic = new_topic(1)
        produce(topic, 1)
        (runs.folder / name).write_text(text)

        done = runs.done("app:handle", "--topic", topic, "--burst", "--log-config", name)

        assert done.returncode == 0, done.stderr
        assert {line.split()[0] for line in done.stderr.splitlines()} == {"MINE"}

    def test_a_file_that_does_not_fit_is_2_and_says_why(self, runs: Runs) -> None:
        (runs.folder / "logging.json").write_text('{"handlers": {"all": {"class": "logging.NoSuchHandler"}}}')

        done = runs.done("app:handle", "--topic", "orders", "--log-config", "logging.json")

        assert done.returncode == 2
        assert "--log-config logging.json does not fit" in done.stderr
        assert "NoSuchHandler" in done.stderr
        assert "Traceback" not in done.stderr

    def test_the_error_that_ends_a_run_is_a_line_of_json_too(self, runs: Runs) -> None:
        done = runs.done("app:handle", "--topic", "nowhere", "--log-format", "json")

        assert done.returncode == 1
        last = logged(done.stderr)[-1]
        assert last["level"] == "error"
        assert last["error"].startswith("UnknownTopicError: topic 'nowhere' does not exist")

    def test_a_typo_in_the_environment_is_told_at_the_start(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 1)

        done = runs.done("app:handle", "--topic", topic, "--burst", KAFKA_CONSUMER_GROPU="x", PYRALLEL_BRUST="1")

        assert done.returncode == 0, done.stderr
        assert done.stderr.count("did you mean KAFKA_CONSUMER_GROUP?") == 1
        assert done.stderr.count("did you mean PYRALLEL_BURST?") == 1


@pytest.mark.parametrize("burst", ["--burst", "--no-burst"])
def test_a_topic_that_is_not_there_is_exit_code_1_and_one_sentence(runs: Runs, burst: str) -> None:
    done = runs.done("app:handle", "--topic", "nowhere", burst)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: topic 'nowhere' does not exist")
    assert "Traceback" not in done.stderr


def test_settings_of_the_file_count_and_threads_run_a_pattern(
    runs: Runs, new_topic: NewTopic, produce: Produce, embedded_broker: EmbeddedBroker
) -> None:
    name = f"pattern-{os.getpid()}-{time.monotonic_ns()}"
    for number in range(2):
        embedded_broker.create_topic(f"{name}-{number}", 1)
        produce(f"{name}-{number}", 50)
    (runs.folder / ".env").write_text(
        f"PYRALLEL_WORKER=app:block\nPYRALLEL_TOPIC='^{name}-\\d{{1,2}}'\nPYRALLEL_BURST=true\n"
        "PYRALLEL_EXECUTION_MODE=async\nEXECUTION_MODE=thread  # they block\nPYRALLEL_CONCURRENCY=3\n"
    )

    done = runs.done()

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("in ")]) == 100
    assert len({line for line in lines if line.startswith("in ")}) <= 3
    assert [runs.committed(f"{name}-{number}") for number in range(2)] == [[50], [50]]
