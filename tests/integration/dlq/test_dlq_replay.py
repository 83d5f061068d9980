"""``dlq replay``: every message comes back as it was, in order, and once."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

from pyrallel_consumer import EmbeddedBroker
from tests.integration.consuming import committed, new_group
from tests.integration.dlq.letters import (
    DEADLINE_SECONDS,
    MESSAGES,
    PARTITIONS,
    TIME_MS,
    dead_letter,
    dlq,
    dlq_command,
    fail_all,
    found,
    replay,
    replayed,
    settings_of_nobody,
)
from tests.letter_box import FoundLetter, read_letters


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
