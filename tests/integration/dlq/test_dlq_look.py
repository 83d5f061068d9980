"""Looking at dead letters: ``dlq list`` and ``dlq show``."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from pyrallel_consumer import EmbeddedBroker
from tests.integration.dlq.letters import DEADLINE_SECONDS, TIME_MS, dead_letter, dlq, fail_all, found, replay
from tests.letter_box import read_letters


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


def test_a_topic_that_is_not_there_and_a_broker_that_is_away_are_clear_errors() -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        missing = dlq(broker, "replay", "--topic", "orders")
        address = broker.bootstrap_servers
    away = dlq(address, "list")

    assert (missing.returncode, missing.stderr) == (1, "Error: there is no topic 'orders.dlq', or it may not be seen\n")
    assert away.returncode == 1
    assert away.stderr.splitlines()[-1].startswith("Error: looking for a broker at ")
    assert "Traceback" not in away.stderr
