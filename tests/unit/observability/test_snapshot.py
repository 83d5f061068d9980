"""The operator's picture: nobody can change it, it has every promised field, and it becomes JSON without payloads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import pytest

from pyrallel_consumer import ExecutionConfig, KafkaConfig, OnExhausted, RuntimeSnapshot
from pyrallel_consumer.control_plane.failures.letter_queue import LetterQueue
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.observability.http.snapshot_json import snapshot_document
from pyrallel_consumer.observability.snapshot import EngineFigures, fixed_facts, take_snapshot
from tests.unit.control_plane.builders import OTHER, TP, keyed, manager_of, run_of

PAYLOAD = b"the card number"
SECRET = "the password"


def snapshot_of_a_busy_consumer() -> RuntimeSnapshot:
    """Two partitions; in the first, offset 1 finished and offset 0 blocks."""
    manager = manager_of(TP, OTHER)
    manager.add(TP, 1, run_of(keyed(0, "abc"), TP, value=PAYLOAD))
    started = manager.take(2)
    manager.succeed([item for item in started if item.offset == 1])
    manager.observe(10.0)
    config = KafkaConfig(sasl_password=SECRET, librdkafka={"ssl.key.pem": SECRET}, consumer_group="billing")
    return take_snapshot(
        now=12.0,
        state="running",
        manager=manager,
        commits=CommitSequence(manager, 1.0),
        engine=EngineFigures(running=1, waiting_retries=0, retries_total=0, timeouts_total=0, stuck=0),
        facts=fixed_facts(config, ExecutionConfig(max_in_flight=7), OnExhausted.DLQ, "orders"),
        is_rebalancing=False,
        letters=LetterQueue(),
        poller={"rebalances": 1, "is_broker_connected": True, "broker_silent_seconds": 0.1},
        blocked_loops=0,
        group_protocol="consumer",
    )


def changeable(value: Any, path: str = "snapshot") -> list[str]:
    """The parts of a value that could be written to."""
    if is_dataclass(value):
        found = [] if vars(type(value))["__dataclass_params__"].frozen else [path]
        return found + [
            place for each in fields(value) for place in changeable(getattr(value, each.name), f"{path}.{each.name}")
        ]
    if isinstance(value, tuple):
        return [place for at, each in enumerate(value) for place in changeable(each, f"{path}[{at}]")]
    if isinstance(value, Mapping):
        found = [path] if hasattr(value, "__setitem__") else []
        return found + [place for name, each in value.items() for place in changeable(each, f"{path}[{name!r}]")]
    return [] if value is None or isinstance(value, str | int | float | Enum) else [path]


def test_nothing_in_a_snapshot_can_be_changed() -> None:
    assert changeable(snapshot_of_a_busy_consumer()) == []


def test_the_search_for_changeable_places_finds_them() -> None:
    thawed = replace(snapshot_of_a_busy_consumer(), settings={"group": "billing"}, partitions=([],))  # type: ignore[arg-type]

    assert changeable(thawed) == ["snapshot.partitions[0]", "snapshot.settings"]


def test_the_json_has_what_an_operator_is_promised() -> None:
    [consumer] = snapshot_document([snapshot_of_a_busy_consumer()], 12.5)["consumers"]

    assert consumer["age_seconds"] == 0.5
    assert consumer["settings"] | {"group": "billing", "topic": "orders"} == consumer["settings"]
    assert (consumer["queued"], consumer["in_flight"], consumer["load_messages"]) == (1, 1, 2)
    assert (consumer["max_in_flight"], consumer["queue_max_messages"], consumer["queue_max_bytes"]) == (
        7,
        5000,
        1 << 26,
    )
    assert (consumer["is_paused"], consumer["is_rebalancing"]) == (False, False)
    assert (consumer["retry"]["max_attempts"], consumer["retry"]["max_retries"]) == (3, 3)
    assert consumer["dead_letters"]["is_enabled"] is True
    partition, idle = consumer["partitions"]
    assert (partition["topic"], partition["partition"], partition["epoch"]) == ("orders", 0, 1)
    assert (partition["committed_offset"], partition["fetched_offset"], partition["gap_count"]) == (0, 3, 1)
    assert (partition["blocking_offset"], partition["blocking_seconds"]) == (0, 2.0)
    assert (partition["queued"], partition["in_flight"]) == (1, 1)
    assert (idle["partition"], idle["blocking_offset"]) == (1, None)


def test_the_json_has_every_field_of_the_snapshot_but_the_time_of_another_clock() -> None:
    snapshot = snapshot_of_a_busy_consumer()

    [consumer] = snapshot_document([snapshot], 12.0)["consumers"]

    assert set(consumer) == {each.name for each in fields(snapshot)} - {"taken_at"} | {"age_seconds"}


def test_the_json_holds_no_payload_no_key_and_no_secret() -> None:
    text = json.dumps(snapshot_document([snapshot_of_a_busy_consumer()], 12.0), allow_nan=False)

    assert PAYLOAD.decode() not in text
    assert SECRET not in text


def test_bytes_of_a_message_do_not_slip_into_the_json() -> None:
    snapshot = replace(snapshot_of_a_busy_consumer(), settings={"key": b"customer-7"})

    with pytest.raises(TypeError, match="bytes"):
        snapshot_document([snapshot], 12.0)


def test_consumers_of_one_process_share_a_document() -> None:
    snapshot = snapshot_of_a_busy_consumer()

    document = snapshot_document([snapshot, replace(snapshot, state="stopping")], 12.0)

    assert [consumer["state"] for consumer in document["consumers"]] == ["running", "stopping"]
