"""`pyrallel-consumer dlq` as a process of its own, on letters that a consumer has written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pyrallel_consumer import (
    DoNotRetry,
    EmbeddedBroker,
    KafkaConfig,
    ParallelConsumerConfig,
    PyrallelConsumer,
    WorkItem,
)
from tests.integration.consuming import committed, execution, new_group, until
from tests.letter_box import FoundLetter, read_letters

COMMAND = Path(sys.executable).with_name("pyrallel-consumer")
DEADLINE_SECONDS = 60.0
PARTITIONS = 3
MESSAGES = 300
TIME_MS = 1_600_000_000_000


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    with EmbeddedBroker({"orders": PARTITIONS, "orders.dlq": 2, "returns": 1, "returns.dlq": 1}) as broker:
        yield broker


async def dead_letter(
    broker: EmbeddedBroker,
    messages: int = MESSAGES,
    *,
    topic: str = "orders",
    partitions: int = PARTITIONS,
    **more: Any,
) -> None:
    """Every message of the topic fails, a third with another error than the rest."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "enable.idempotence": True})
    for number in range(messages):
        producer.produce(
            topic,
            json.dumps({"number": number}).encode(),
            f"key-{number % 7}".encode(),
            number % partitions,
            timestamp=TIME_MS + number * 1000,
            headers=[("trace", b"%d" % number)],
        )
    assert producer.flush(DEADLINE_SECONDS) == 0
    await fail_all(broker, messages, topic=topic, **more)


async def fail_all(broker: EmbeddedBroker, messages: int, *, topic: str, group: str | None = None, **more: Any) -> None:
    async def worker(item: WorkItem) -> None:
        number = json.loads(item.payload or b"{}")["number"]
        if number % 3 == 0:
            raise DoNotRetry(f"no stock for {number}")
        raise ValueError("invalid data")

    config = KafkaConfig(
        bootstrap_servers=broker.bootstrap_servers,
        consumer_group=group or new_group(),
        librdkafka={"group.protocol": "consumer"},  # joins in an instant
        parallel_consumer=ParallelConsumerConfig(commit_interval_ms=50),
        **more,
    )
    consumer = PyrallelConsumer(config, worker, topic, execution_config=execution(max_retries=1))
    async with consumer:
        await until(
            lambda: sum(each.committed_offset for each in consumer.get_runtime_snapshot().partitions) == messages,
            consumer.get_runtime_snapshot,
        )


def dlq_command(broker: EmbeddedBroker | str, command: str, *arguments: str) -> list[str]:
    address = broker if isinstance(broker, str) else broker.bootstrap_servers
    return [str(COMMAND), "dlq", command, "--bootstrap-servers", address, *arguments]


def settings_of_nobody() -> dict[str, str]:
    ours = ("KAFKA_", "EXECUTION_", "PARALLEL_CONSUMER_", "METRICS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"PYTHONUNBUFFERED": "1"}


def dlq(
    broker: EmbeddedBroker | str, command: str, *arguments: str, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        dlq_command(broker, command, *arguments),
        capture_output=True,
        encoding=encoding,
        check=False,
        timeout=DEADLINE_SECONDS,
        env=settings_of_nobody() | {"PYTHONIOENCODING": encoding},
    )


def found(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(last, dict)
    return last


def replay(broker: EmbeddedBroker, *arguments: str, code: int = 0) -> dict[str, Any]:
    return found(dlq(broker, "replay", "--topic", "orders", "--json", *arguments), code)


def replayed(broker: EmbeddedBroker, topic: str = "orders") -> list[FoundLetter]:
    """The messages that came back to the topic, partition by partition."""
    return [record for record in read_letters(broker.bootstrap_servers, topic) if "x-replay-count" in record.ours]


def numbers(records: list[FoundLetter], is_of: Callable[[int], bool] = lambda _: True) -> list[int]:
    return [number for record in records if is_of(number := json.loads(record.value or b"{}")["number"])]


def interrupted_replay(broker: EmbeddedBroker, number: signal.Signals) -> tuple[int, str]:
    """A slow replay that gets the signal after its first line: its exit code and what else it printed."""
    command = dlq_command(broker, "replay", "--topic", "orders", "--rate", "50", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=settings_of_nobody()) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("replaying: ")
        process.send_signal(number)
        rest, _ = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, rest


async def test_letters_are_counted_by_error_and_source(broker: EmbeddedBroker) -> None:
    await dead_letter(broker, 30)
    await dead_letter(broker, 4, topic="returns", partitions=1, dlq_payload_mode="metadata_only")

    done = dlq(broker, "list", "--json")

    listed = found(done)
    assert listed["topics"] == ["orders.dlq", "returns.dlq"]
    counts = {(row["dlq_topic"], row["error"]): row for row in listed["counts"]}
    assert {kind: (row["letters"], row["not_replayable"]) for kind, row in counts.items()} == {
        ("orders.dlq", "ValueError"): (20, 0),
        ("orders.dlq", "DoNotRetry"): (10, 0),
        ("returns.dlq", "ValueError"): (2, 2),
        ("returns.dlq", "DoNotRetry"): (2, 2),
    }
    assert counts["orders.dlq", "DoNotRetry"]["oldest_ms"] == TIME_MS
    assert counts["orders.dlq", "DoNotRetry"]["newest_ms"] == TIME_MS + 27_000
    assert "ValueError" in done.stdout
    assert done.stdout.isascii()
    assert found(dlq(broker, "list", "--topic", "orders", "--json", "--filter", "error=STOCK"))["letters"] == 10


async def test_one_letter_is_shown_with_all_that_it_says(broker: EmbeddedBroker) -> None:
    await dead_letter(broker, 1)
    [letter] = read_letters(broker.bootstrap_servers, "orders.dlq")
    shows = [
        dlq(broker, "show", "--topic", "orders", "--partition", partition, "--offset", "0", "--json")
        for partition in ("0", "1")
    ]

    [place] = [done for done in shows if done.returncode == 0]
    shown = found(place)
    assert shown["source"] == {"topic": "orders", "partition": 0, "offset": 0}
    assert (shown["key"], shown["value"], shown["error"]) == ("key-0", '{"number": 0}', "DoNotRetry: no stock for 0")
    assert shown["headers"] == [["trace", "0"]]
    assert letter.key == b"key-0"
    assert '"number": 0\n' in place.stdout

    missing = dlq(broker, "show", "--topic", "orders", "--partition", "0", "--offset", "99")
    assert missing.returncode == 1
    assert missing.stderr.startswith("Error: there is no letter orders.dlq[0]@99")


async def test_letters_are_listed_with_the_places_that_show_asks_for_and_groups_are_told_apart(
    broker: EmbeddedBroker,
) -> None:
    await dead_letter(broker, 6, group="shop")
    await fail_all(broker, 6, topic="orders", group="audit")

    done = dlq(broker, "list", "--topic", "orders", "--group", "audit", "--letters", "--limit", "4", "--json")

    listed = found(done)
    assert (listed["letters"], len(listed["listed"])) == (6, 4)
    assert {row["group"] for row in listed["counts"]} == {row["group"] for row in listed["listed"]} == {"audit"}
    assert "and 2 more letters: raise --limit" in done.stdout
    for row in listed["listed"]:
        place = ("--partition", str(row["partition"]), "--offset", str(row["offset"]))
        shown = found(dlq(broker, "show", "--topic", "orders", *place, "--json"))
        assert [shown[name] for name in ("group", "source", "error", "failed_at_ms")] == [
            row[name] for name in ("group", "source", "error", "failed_at_ms")
        ]
        assert shown["traceback"].splitlines()[-1].endswith(".worker")

    assert {row["group"] for row in found(dlq(broker, "list", "--json"))["counts"]} == {"shop", "audit"}
    assert replay(broker, "--group", "audit")["replayed"] == 6
    assert replay(broker)["replayed"] == 6


def letter_for(broker: EmbeddedBroker, topic: str, *, value: bytes = b"{}", key: bytes = b"key") -> None:
    """A letter that names ``topic``, written by a stranger to the dead-letter topic of ``orders``."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    headers: list[tuple[str, str | bytes | None]] = [("source-topic", topic), ("partition", "0"), ("offset", "1")]
    producer.produce("orders.dlq", value, key, 0, headers=headers)
    assert producer.flush(DEADLINE_SECONDS) == 0


async def test_a_letter_goes_back_to_no_topic_but_that_of_its_dead_letters_unless_it_is_allowed(
    broker: EmbeddedBroker,
) -> None:
    for topic in ("returns", "orders", "orders.dlq"):
        letter_for(broker, topic)

    refused = dlq(broker, "replay", "--topic", "orders", "--json")
    by_name = replay(broker, "--allow-topic", "returns", code=1)
    again = found(dlq(broker, "replay", "--dlq-topic", "orders.dlq", "--json"), 1)

    first = found(refused, 1)
    assert (first["replayed_to"], first["not_replayable"]) == ({"orders": 1}, 2)
    assert "it names 'returns' as its topic, and lies in orders.dlq: --allow-topic allows that" in refused.stdout
    assert (by_name["replayed_to"], by_name["not_replayable"]) == ({"returns": 1}, 1)
    assert (again["replayed"], again["not_replayable"]) == (0, 1)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
async def test_letters_of_any_text_are_shown_on_any_terminal_and_steer_none(
    broker: EmbeddedBroker, encoding: str
) -> None:
    letter_for(broker, "größe 漢\x9b\u202e", value='{"a": "\\u009b\\u202e 漢 ü"}'.encode(), key=b"\x1b[2J")

    shown = dlq(broker, "show", "--topic", "orders", "--partition", "0", "--offset", "0", encoding=encoding)
    listed = dlq(broker, "list", "--letters", encoding=encoding)
    told = dlq(broker, "replay", "--topic", "orders", encoding=encoding)

    assert (shown.returncode, listed.returncode, told.returncode) == (0, 0, 1)
    for done in (shown, listed, told):
        assert not {"\x1b", "\x9b", "\u202e"} & set(done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
    assert "\\u009b\\u202e" in shown.stdout


async def test_a_replay_brings_back_every_message_as_it_was_in_its_order_and_only_once(broker: EmbeddedBroker) -> None:
    began_ms = int(time.time() * 1000)
    await dead_letter(broker)
    before = read_letters(broker.bootstrap_servers, "orders.dlq")

    assert replay(broker, "--dry-run")["replayed"] == MESSAGES
    assert replayed(broker) == []
    first = replay(broker)
    assert (first["replayed"], first["replayed_to"]) == (MESSAGES, {"orders": MESSAGES})
    second = replay(broker)
    assert (second["replayed"], second["read"]) == (0, 0)

    records = replayed(broker)
    assert sorted(numbers(records)) == list(range(MESSAGES))
    for record in records:
        number = json.loads(record.value or b"{}")["number"]
        assert record.key == f"key-{number % 7}".encode()
        assert record.timestamp >= began_ms
        assert record.headers == [
            ("trace", b"%d" % number),
            ("x-original-timestamp", b"%d" % (TIME_MS + number * 1000)),
            ("x-replay-count", b"1"),
        ]
    in_letters = numbers(before)
    for key in range(7):
        for partition in range(PARTITIONS):

            def is_of(number: int, key: int = key, partition: int = partition) -> bool:
                return number % 7 == key and number % PARTITIONS == partition

            assert numbers(records, is_of) == numbers(before, is_of)
    assert len(in_letters) == MESSAGES
    assert sum(committed(broker.bootstrap_servers, "orders.dlq.replay", "orders.dlq", 2)) == MESSAGES
    listed = found(dlq(broker, "list", "--topic", "orders", "--json"))
    assert sum(row["replayed"] for row in listed["counts"]) == MESSAGES


async def test_what_a_filter_left_out_is_there_for_the_next_replay_and_what_it_sent_is_not(
    broker: EmbeddedBroker,
) -> None:
    await dead_letter(broker)

    filtered = replay(broker, "--filter", "error=stock")
    assert (filtered["replayed"], filtered["not_selected"]) == (MESSAGES // 3, 2 * MESSAGES // 3)
    by_key = replay(broker, "--filter", "key=key-1", "--filter", "until=2020-09-13T12:27:40Z")
    assert by_key["replayed"] == len([n for n in range(60) if n % 7 == 1 and n % 3])
    rest = replay(broker)
    assert rest["not_selected"] == 0

    assert sorted(numbers(replayed(broker))) == list(range(MESSAGES))
    assert filtered["replayed"] + by_key["replayed"] + rest["replayed"] == MESSAGES


async def test_a_replay_that_is_interrupted_and_started_again_loses_and_doubles_nothing(broker: EmbeddedBroker) -> None:
    await dead_letter(broker)
    codes = []
    for _ in range(3):
        code, rest = interrupted_replay(broker, signal.SIGINT)
        codes.append(code)
        stopped = json.loads(rest.splitlines()[-1])
        assert stopped["stopped_because"] == "SIGINT"
        assert 0 < stopped["replayed"] < MESSAGES
        assert "orders.dlq.replay stands at" in rest

    rest_of_it = replay(broker)

    assert codes == [130, 130, 130]
    assert 0 < rest_of_it["replayed"] < MESSAGES
    assert Counter(numbers(replayed(broker))) == Counter(range(MESSAGES))


async def test_a_killed_replay_loses_nothing(broker: EmbeddedBroker) -> None:
    await dead_letter(broker)
    interrupted_replay(broker, signal.SIGKILL)

    replay(broker)

    assert set(numbers(replayed(broker))) == set(range(MESSAGES))
    assert len(replayed(broker)) <= MESSAGES + 50


async def test_a_message_that_fails_again_and_again_is_not_sent_back_for_ever(broker: EmbeddedBroker) -> None:
    group = new_group()
    await dead_letter(broker, 5, group=group)
    for number in (1, 2):
        assert replay(broker, "--max-replays", "2")["replayed"] == 5
        assert Counter(record.ours["x-replay-count"] for record in replayed(broker))[str(number)] == 5
        await fail_all(broker, 5 * (number + 1), topic="orders", group=group)

    last = replay(broker, "--max-replays", "2")

    assert (last["replayed"], last["over_max_replays"], last["ok"]) == (0, 5, True)


async def test_letters_without_payload_are_named_and_stay(broker: EmbeddedBroker) -> None:
    await dead_letter(broker, 6, dlq_payload_mode="metadata_only")

    done = dlq(broker, "replay", "--topic", "orders", "--json")

    last = found(done, 1)
    assert (last["not_replayable"], last["replayed"], last["ok"]) == (6, 0, False)
    assert "it has neither key nor value (dlq_payload_mode=metadata_only)" in done.stdout
    assert "and 1 more" in done.stdout
    assert replayed(broker) == []


async def test_a_limit_ends_a_replay_and_the_next_goes_on(broker: EmbeddedBroker) -> None:
    await dead_letter(broker, 30)

    limited = replay(broker, "--limit", "7")

    assert (limited["replayed"], limited["stopped_because"], limited["ok"]) == (7, "--limit is reached", True)
    assert replay(broker)["replayed"] == 23
    assert sorted(numbers(replayed(broker))) == list(range(30))


async def test_what_the_broker_refuses_ends_the_replay_and_is_sent_by_the_next(broker: EmbeddedBroker) -> None:
    await dead_letter(broker, 30)
    broker.fail_requests("produce", ["TOPIC_AUTHORIZATION_FAILED"] * 100)

    done = dlq(broker, "replay", "--topic", "orders", "--json")

    refused = found(done, 1)
    assert refused["failed"] > 0
    assert done.stderr.startswith("Error: replaying to 'orders': ")
    broker.clear_faults("produce")
    assert replay(broker)["replayed"] == 30 - refused["replayed"]
    assert Counter(numbers(replayed(broker))) == Counter(range(30))


async def test_acknowledged_letters_that_cannot_be_committed_are_told(broker: EmbeddedBroker) -> None:
    await dead_letter(broker, 3)
    broker.fail_requests("offset_commit", ["GROUP_AUTHORIZATION_FAILED"] * 20)

    done = dlq(broker, "replay", "--topic", "orders", "--json")

    last = found(done, 1)
    assert last["uncommitted"] > 0
    assert "GROUP_AUTHORIZATION_FAILED" in done.stderr


def test_a_topic_that_is_not_there_and_a_broker_that_is_away_are_clear_errors() -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        missing = dlq(broker, "replay", "--topic", "orders")
        address = broker.bootstrap_servers
    away = dlq(address, "list")

    assert (missing.returncode, missing.stderr) == (1, "Error: there is no topic 'orders.dlq', or it may not be seen\n")
    assert away.returncode == 1
    assert away.stderr.splitlines()[-1].startswith("Error: looking for a broker at ")
    assert "Traceback" not in away.stderr
