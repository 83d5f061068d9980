"""``inspect offsets reset`` before it moves anything; the embedded broker moves no group (``tests/kafka`` does)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner, Result

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, WorkItem
from pyrallel_consumer.cli import main
from tests.integration.conftest import Produce
from tests.integration.consuming import kafka, new_group, until


def reset(broker: EmbeddedBroker, group: str, topic: str, to: str, *arguments: str) -> Result:
    options = ["--group", group, "--topic", topic, "--to", to, "--bootstrap-servers", broker.bootstrap_servers]
    return CliRunner().invoke(main, ["inspect", "offsets", "reset", *options, *arguments])


def told(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["partitions"]
    return found


async def test_a_dry_run_tells_where_the_group_would_go_and_moves_nothing(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, group = new_topic(2), new_group()
    produce(topic, 20, key_of=lambda i: b"%d" % i, partitions=2)
    seen: list[bytes | None] = []

    async def worker(item: WorkItem) -> None:
        seen.append(item.payload)

    async with PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, group), worker, topic):
        await until(lambda: len(seen) == 20)

    for _ in range(2):
        dry = told(await asyncio.to_thread(reset, embedded_broker, group, topic, "earliest", "--dry-run", "--json"))
        assert [(each["committed_offset"], each["new_offset"], each["runs_again"]) for each in dry] == [(10, 0, 10)] * 2
    plain = await asyncio.to_thread(reset, embedded_broker, group, topic, "17", "--partition", "1", "--dry-run")
    assert "the offsets of 1 partitions would be moved (--dry-run: nothing was)" in plain.output
    assert "do not hold the offset, so it is the nearer end: 1" in plain.output


async def test_what_is_not_there_is_said(embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str]) -> None:
    topic = new_topic(2)
    wrong = await asyncio.to_thread(reset, embedded_broker, new_group(), topic + "x", "0")
    assert (wrong.exit_code, "there is no topic" in wrong.output) == (1, True)
    wrong = await asyncio.to_thread(reset, embedded_broker, new_group(), topic, "0", "--partition", "2")
    assert (wrong.exit_code, "partitions 0 to 1" in wrong.output) == (2, True)
