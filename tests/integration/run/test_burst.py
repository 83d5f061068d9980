"""``run --burst`` and ``--reload``: it ends at the end of the log, or begins again with new code."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, WorkItem
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import execution, kafka, until
from tests.integration.program import Program
from tests.integration.run.runs import Runs
from tests.integration.run.shop import logged


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
