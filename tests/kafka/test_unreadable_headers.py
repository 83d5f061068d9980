"""Records with a header's name that is not UTF-8, on a real Kafka: they end no process, and their letters say so.

Without the adapter around the client's message each of these tests ends with SIGSEGV.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrallel_consumer import DoNotRetry, ExecutionConfig, ExecutionMode, KafkaConfig, PyrallelConsumer, WorkItem
from tests.integration.consuming import MODES_OF_THIS_MACHINE
from tests.kafka.deadline import until_asked
from tests.kafka_cluster import KafkaCluster
from tests.letter_box import FoundLetter, read_letters
from tests.raw_record import NOT_UTF8, produce_raw

HEADERS = [(b"fine", b"1"), (NOT_UTF8, b"2"), (b"empty", None)]
UNREADABLE = "unreadable: a header's name is not UTF-8"
COMMAND = Path(sys.executable).with_name("pyrallel-consumer")
DEADLINE_SECONDS = 60.0


def looking_worker(item: WorkItem) -> None:
    """A worker that asks for headers in every possible way, and fails on request or if an answer is wrong."""
    if item.payload == b"untouched":
        raise DoNotRetry("as it was told")
    is_raw = item.payload != b"plain"
    expected = [] if is_raw else [("fine", b"1")]
    answers = [item.headers, item.message.headers(), item.message.headers(), item.headers]
    if answers != [expected] * 4 or item.has_unreadable_headers is not is_raw:
        raise DoNotRetry(f"{answers} {item.has_unreadable_headers}")
    if item.payload == b"touched":
        raise ValueError("as it was told")


async def async_looking_worker(item: WorkItem) -> None:
    looking_worker(item)


def fill(kafka: KafkaCluster) -> str:
    topic = kafka.new_topic()
    kafka.new_topic(name=f"{topic}.dlq")
    for value in (b"works", b"untouched", b"touched"):
        produce_raw(kafka.bootstrap_servers, topic, b"key", value, HEADERS)
    produce_raw(kafka.bootstrap_servers, topic, b"key", b"plain", [(b"fine", b"1")])
    return topic


async def consume(
    kafka: KafkaCluster, config: KafkaConfig, topic: str, mode: ExecutionMode, *, tracing: bool = False
) -> list[FoundLetter]:
    worker = async_looking_worker if mode is ExecutionMode.ASYNC else looking_worker
    execution = ExecutionConfig(mode=mode, max_retries=2, retry_backoff_ms=10, worker_pool_size=1, tracing=tracing)
    group = config.consumer_group
    async with PyrallelConsumer(config, worker, topic, execution_config=execution):
        await until_asked(lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "all is committed")
    return read_letters(kafka.bootstrap_servers, f"{topic}.dlq")


@pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
@pytest.mark.parametrize("tracing", [False, True])
async def test_a_record_whose_headers_cannot_be_read_is_worked_on_and_its_letter_says_so(
    kafka: KafkaCluster, settings: Callable[..., KafkaConfig], mode: ExecutionMode, tracing: bool
) -> None:
    letters = await consume(kafka, settings(kafka.new_group()), fill(kafka), mode, tracing=tracing)

    assert [(letter.key, letter.value) for letter in letters] == [(b"key", b"untouched"), (b"key", b"touched")]
    assert [letter.ours["x-headers-omitted"] for letter in letters] == [UNREADABLE] * 2
    assert [letter.ours["x-retry-attempt"] for letter in letters] == ["1", "2"]
    assert [letter.ours["x-error-reason"] for letter in letters] == [
        "DoNotRetry: as it was told",
        "ValueError: as it was told",
    ]
    assert all("fine" not in letter.ours for letter in letters)


async def test_letters_without_headers_are_listed_shown_and_replayed_and_so_is_what_else_lies_in_their_topic(
    kafka: KafkaCluster, settings: Callable[..., KafkaConfig]
) -> None:
    topic = fill(kafka)
    await consume(kafka, settings(kafka.new_group()), topic, ExecutionMode.ASYNC)
    produce_raw(kafka.bootstrap_servers, f"{topic}.dlq", b"key", b"somebody else's", HEADERS)

    def dlq(command: str, *arguments: str) -> str:
        where = ("--bootstrap-servers", kafka.bootstrap_servers)
        done = subprocess.run(
            [COMMAND, "dlq", command, *where, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode >= 0, f"ended by signal {-done.returncode}"
        return done.stdout

    assert json.loads(dlq("list", "--topic", topic, "--json").splitlines()[-1])["letters"] == 3
    shown = dlq("show", "--topic", topic, "--partition", "0", "--offset", "0")
    assert f"headers   left out ({UNREADABLE})" in shown
    assert "somebody else's" in dlq("show", "--topic", topic, "--partition", "0", "--offset", "2")
    kafka.delete_records(topic, kafka.end_offsets(topic))
    replayed = json.loads(dlq("replay", "--topic", topic, "--json").splitlines()[-1])
    assert (replayed["read"], replayed["replayed"]) == (3, 2)
    assert [(each.value, each.ours["x-headers-omitted"]) for each in read_letters(kafka.bootstrap_servers, topic)] == [
        (b"untouched", UNREADABLE),
        (b"touched", UNREADABLE),
    ]
