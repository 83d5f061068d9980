"""`pyrallel-consumer inspect` against the commits of a blocked consumer, and against a group without commits."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition
from typer.testing import CliRunner, Result

from pyrallel_consumer import EmbeddedBroker, MetricsConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.cli import main
from tests.integration.conftest import Produce
from tests.integration.consuming import execution, kafka, new_group, until
from tests.unit.observability.test_snapshot import changeable

COMMAND = Path(sys.executable).with_name("pyrallel-consumer")
DEADLINE_SECONDS = 60.0


def inspected(broker: EmbeddedBroker, *arguments: str) -> Result:
    """Exit code and output of the command, run in this process to save the time of imports."""
    return CliRunner().invoke(main, ["inspect", "--bootstrap-servers", broker.bootstrap_servers, *arguments])


def inspected_at(url: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "inspect", "--url", url]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.run(
        command, capture_output=True, encoding=encoding, timeout=DEADLINE_SECONDS, check=False, env=environment
    )


def watched_at(url: str, looks: int) -> tuple[list[dict[str, Any]], int]:
    """The output of this many looks, and the exit code after Ctrl-C."""
    command = [str(COMMAND), "inspect", "--url", url, "--watch", "--every", "0.1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [json.loads(process.stdout.readline()) for _ in range(looks)]
        process.send_signal(signal.SIGINT)
        return told, process.wait(DEADLINE_SECONDS)


def as_json(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_the_commits_of_a_consumer_tell_what_is_finished_and_what_blocks(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, group = new_topic(2), new_group()
    produce(topic, 40, key_of=lambda i: b"%d" % i, partitions=2)
    go_on = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if item.partition == 0 and item.offset in {3, 4, 7}:
            await go_on.wait()

    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, worker, topic, execution_config=execution()) as consumer:
        await until(lambda: [each.committed_offset for each in consumer.get_runtime_snapshot().partitions] == [3, 20])
        found = as_json(
            await asyncio.to_thread(inspected, embedded_broker, "--group", group, "--topic", topic, "--json")
        )
        plain = await asyncio.to_thread(inspected, embedded_broker, "--group", group, "--topic", topic)
        snapshot = consumer.get_runtime_snapshot()
        go_on.set()

    assert (found["lag"], found["finished_above"]) == (17, 14)
    held, done = found["partitions"]
    assert held["unfinished_ranges"] == [[3, 4], [7, 7]]
    assert (held["committed_offset"], held["log_end_offset"], held["map_end_offset"]) == (3, 20, 20)
    assert held["gap_count"] == next(each.gap_count for each in snapshot.partitions if each.tp.partition == 0) == 2
    assert (done["committed_offset"], done["lag"], done["warning"]) == (20, 0, None)
    assert "3-4, 7" in plain.stdout
    assert "░░██░████████████" in plain.stdout


def test_metadata_of_somebody_else_is_named(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 5, partitions=1)
    client = Consumer({"bootstrap.servers": embedded_broker.bootstrap_servers, "group.id": group})
    client.commit(offsets=[ClientPartition(topic, 0, 2, "somebody else's")], asynchronous=False)
    client.close()

    done = inspected(embedded_broker, "--group", group, "--topic", topic)

    assert done.exit_code == 0
    assert f"commit metadata of {topic}[0] is ignored: it was not written by this library" in done.stdout
    assert "somebody else's" not in done.stdout


@pytest.mark.parametrize(
    ("is_topic_known", "sentence"),
    [(True, "has committed nothing for topic"), (False, "there is no topic 'elsewhere'")],
)
def test_a_group_or_a_topic_that_is_not_there_is_an_error(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], is_topic_known: bool, sentence: str
) -> None:
    topic = new_topic(1) if is_topic_known else "elsewhere"

    done = inspected(embedded_broker, "--group", "nobody", "--topic", topic)

    assert done.exit_code == 1
    assert sentence in done.stderr
    assert done.stdout == ""


async def test_a_running_consumer_tells_what_it_does_and_what_blocks_it(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, group = new_topic(1), f"{new_group()}-漢\x9b"
    produce(topic, 10, key_of=lambda i: b"%d" % i, value_of=lambda _: b"the card number", partitions=1)
    go_on = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if item.offset == 4:
            await go_on.wait()

    config = kafka(embedded_broker.bootstrap_servers, group, metrics=MetricsConfig(enabled=True, port=0))
    async with PyrallelConsumer(config, worker, topic, execution_config=execution()) as consumer:
        await until(lambda: [each.committed_offset for each in consumer.get_runtime_snapshot().partitions] == [4])
        assert consumer.metrics_address is not None
        url = "http://{}:{}".format(*consumer.metrics_address)
        shown = await asyncio.to_thread(inspected_at, url)
        on_old_terminal = await asyncio.to_thread(inspected_at, url, "latin-1")
        told, code = await asyncio.to_thread(watched_at, url, 3)
        go_on.set()

    assert shown.returncode == 0, shown.stderr
    assert changeable(consumer.get_runtime_snapshot()) == []
    assert f"group {group[:-1]}\N{REPLACEMENT CHARACTER}, topic {topic}" in shown.stdout
    assert (on_old_terminal.returncode, on_old_terminal.stderr) == (0, "")
    assert f"group {group[:-2]}\\u6f22\\ufffd, topic {topic}" in on_old_terminal.stdout
    assert "1 of 1,000 in flight" in shown.stdout
    assert "the card number" not in shown.stdout
    for look in told:
        [seen] = look["consumers"]
        assert (seen["state"], seen["settings"]["group"], seen["processed"]) == ("running", group, 9)
        [partition] = seen["partitions"]
        assert (partition["topic"], partition["committed_offset"], partition["blocking_offset"]) == (topic, 4, 4)
    assert code == 128 + signal.SIGINT
