"""Whether a running consumer is alive and ready, and the reasons why not."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, WorkItem
from tests.integration.conftest import Produce, producing_to
from tests.integration.consuming import execution, ignore, kafka, new_group, until
from tests.integration.endpoint.asked import (
    LONGEST_ANSWER_SECONDS,
    ask,
    ask_json,
    got,
    metered,
    reasons,
    scraped,
    until_reasons,
)

BLOCKED_SECONDS = 0.3
NOTICED_SECONDS = 15.0


async def test_liveness_is_answered_while_the_loop_is_blocked(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic = new_topic(1)
    produce(topic, 1)
    found: list[tuple[int, str]] = []
    seen = threading.Event()

    def look() -> None:
        deadline = time.monotonic() + LONGEST_ANSWER_SECONDS
        while time.monotonic() < deadline:
            answer = got(address, "/livez")
            if answer[0] != HTTPStatus.OK:
                found.append(answer)
                break
        seen.set()

    async def worker(item: WorkItem) -> None:
        threading.Thread(target=look).start()
        seen.wait(2 * LONGEST_ANSWER_SECONDS)

    metrics = metered(loop_blocked_seconds=BLOCKED_SECONDS)
    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group(), metrics=metrics), worker, topic)
    async with consumer:
        address = consumer.metrics_address
        await until(seen.is_set)
        [(status, text)] = found
        assert status == HTTPStatus.SERVICE_UNAVAILABLE
        [reason] = json.loads(text)["consumers"][0]["reasons"]
        assert reason["reason"] == "loop_blocked"
        await until(lambda: got(address, "/livez")[0] == HTTPStatus.OK)


async def test_one_partition_that_does_not_get_on_makes_the_consumer_unready_by_name(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, group, let_go = new_topic(2), new_group(), asyncio.Event()
    produce(topic, 10, partitions=2)

    async def worker(item: WorkItem) -> None:
        if item.tp == (topic, 1) and item.offset == 2:
            await let_go.wait()

    config = kafka(embedded_broker.bootstrap_servers, group, metrics=metered(partition_blocked_seconds=0.2))
    async with PyrallelConsumer(config, worker, topic, execution_config=execution()) as consumer:
        await until_reasons(consumer, ["partition_blocked"])
        _, document = await ask_json(consumer, "/readyz")
        [reason] = document["consumers"][0]["reasons"]
        assert (reason["topic"], reason["partition"], reason["offset"]) == (topic, 1, 2)
        assert await reasons(consumer, "/livez") == []
        let_go.set()
        await until_reasons(consumer, [])


async def test_a_partition_that_is_paused_with_nothing_finishing_is_stuck_until_it_is_resumed(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, is_mended = new_topic(1), asyncio.Event()
    produce(topic, 3)

    async def worker(item: WorkItem) -> None:
        if item.offset == 0 and not is_mended.is_set():
            raise ValueError("invalid data")

    config = kafka(embedded_broker.bootstrap_servers, new_group(), metrics=metered(partition_stuck_seconds=0.2))
    pausing = execution(max_retries=1, on_exhausted="pause_partition")
    async with PyrallelConsumer(config, worker, topic, execution_config=pausing) as consumer:
        await until_reasons(consumer, ["partition_stuck"])
        is_mended.set()
        consumer.resume_partition((topic, 0))
        await until_reasons(consumer, [])


async def test_a_consumer_without_partitions_or_whose_dead_letters_are_refused_is_alive_but_not_ready(
    broker: EmbeddedBroker,
) -> None:
    producing_to(broker.bootstrap_servers)("orders", 2, partitions=2)

    async def worker(item: WorkItem) -> None:
        raise ValueError("invalid data")

    config = kafka(broker.bootstrap_servers, new_group(), metrics=metered(), librdkafka={"message.timeout.ms": 1000})
    broker.fail_requests("produce", ["TOPIC_AUTHORIZATION_FAILED"] * 20)
    quick = execution(max_retries=1, shutdown_drain_timeout_ms=50)
    async with PyrallelConsumer(config, worker, "orders", execution_config=quick) as consumer:
        seen: set[str] = set()
        deadline = time.monotonic() + LONGEST_ANSWER_SECONDS
        while "dead_letters_refused" not in seen:
            assert time.monotonic() < deadline, seen
            seen.update(await reasons(consumer))
            assert await reasons(consumer, "/livez") == []
        assert seen <= {"not_assigned", "dead_letters_refused"}
        assert consumer.get_metrics()["consumer_dlq_failures_total"]["TOPIC_AUTHORIZATION_FAILED"] >= 1


async def test_an_outage_of_all_brokers_is_seen_by_an_idle_consumer_and_so_is_its_end(broker: EmbeddedBroker) -> None:
    config = kafka(broker.bootstrap_servers, new_group(), metrics=metered())
    producing_to(broker.bootstrap_servers)("orders", 10)
    async with PyrallelConsumer(config, ignore, ["orders"]) as consumer:
        await until(lambda: consumer.get_metrics()["consumer_broker_lag"].get(("orders", 0)) == 0)
        await until_reasons(consumer, [])
        broker.set_down()
        went_at = time.monotonic()
        while (await reasons(consumer))[:1] != ["broker_unreachable"]:
            assert time.monotonic() - went_at < NOTICED_SECONDS
            await asyncio.sleep(0.1)
        samples = scraped((await ask(consumer, "/metrics"))[1])
        assert samples["consumer_broker_connected", ()] == 0
        assert not [name for name, _ in samples if name == "consumer_broker_lag"]
        _, status = await ask_json(consumer, "/status.json")
        assert status["verdict"]["level"] == "bad"
        assert "No broker answers" in status["verdict"]["headline"]
        assert (await ask(consumer, "/livez"))[0] == HTTPStatus.OK
        broker.set_up()
        await until_reasons(consumer, [])
        assert scraped((await ask(consumer, "/metrics"))[1])["consumer_broker_connected", ()] == 1
