"""Avro, JSON Schema and Protobuf of a real schema registry, in every mode; the registry down, and schemas evolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka.schema_registry import AsyncSchemaRegistryClient

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer
from tests.integration.conftest import Produce
from tests.integration.consuming import MODES_OF_THIS_MACHINE, execution, kafka, new_group, until
from tests.kafka_node import free_port
from tests.letter_box import read_letters
from tests.registry import formats
from tests.registry.door import Door
from tests.registry.registry_node import RegistryNode
from tests.registry.workers import note, note_async, seen_in

pytestmark = [pytest.mark.xdist_group("registry"), pytest.mark.usefixtures("clients_are_closed")]
MODES = pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
ORDER = {"number": 7, "article": "tea"}


class Shop(NamedTuple):
    """A topic of the test's own, and the registry."""

    broker: EmbeddedBroker
    topic: str
    produce: Produce
    registry: RegistryNode
    folder: Path

    def consumer(
        self, mode: ExecutionMode, values: Sequence[bytes], deserializer: Any, **settings: Any
    ) -> PyrallelConsumer:
        """Of messages with these values, one key; its worker notes what it sees in ``folder``."""
        self.produce(self.topic, len(values), key_of=lambda _: b"a key", value_of=lambda i: values[i])
        return PyrallelConsumer(
            kafka(self.broker.bootstrap_servers, new_group()),
            partial(note_async if mode is ExecutionMode.ASYNC else note, str(self.folder)),
            topic=self.topic,
            execution_config=execution(mode=mode, worker_pool_size=1, **settings),
            value_deserializer=deserializer,
        )


@pytest.fixture
def shop(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    produce: Produce,
    registry: RegistryNode,
    tmp_path: Path,
) -> Shop:
    return Shop(embedded_broker, new_topic(1), produce, registry, tmp_path)


@pytest.fixture
def clients_are_closed() -> Iterator[None]:
    yield
    formats.close_clients()


@MODES
@pytest.mark.parametrize("name", ["avro", "json_schema", "protobuf"])
async def test_each_format_is_read_in_each_mode(shop: Shop, mode: ExecutionMode, name: str) -> None:
    write = {"avro": formats.written_avro, "json_schema": formats.written_json, "protobuf": formats.written_protobuf}
    value = write[name](shop.registry.url, shop.topic, ORDER)
    make = getattr(formats, name)
    deserializer = partial(make, shop.registry.url) if mode is ExecutionMode.PROCESS else make(shop.registry.url)
    consumer = shop.consumer(mode, [value, value], deserializer)
    async with consumer:
        await until(lambda: len(seen_in(shop.folder)) == 2, consumer.get_runtime_snapshot)
    assert seen_in(shop.folder) == [f"{offset} 1 {ORDER!r}" for offset in (0, 1)]


async def test_an_asynchronous_deserializer_asks_the_registry_without_holding_the_loop(shop: Shop) -> None:
    value = formats.written_avro(shop.registry.url, shop.topic, ORDER)
    async with AsyncSchemaRegistryClient({"url": shop.registry.url, "timeout": 5}) as client:
        deserializer = await formats.async_avro(client)
        consumer = shop.consumer(ExecutionMode.ASYNC, [value], deserializer)
        async with consumer:
            await until(lambda: seen_in(shop.folder), consumer.get_runtime_snapshot)
    assert seen_in(shop.folder) == [f"0 1 {ORDER!r}"]


def test_a_deserializer_that_holds_a_client_is_refused_for_processes_with_what_to_do(shop: Shop) -> None:
    with pytest.raises(ValueError, match=r"value_deserializer .*AvroDeserializer.* cannot be sent to a process .*"):
        shop.consumer(ExecutionMode.PROCESS, [], formats.avro(shop.registry.url))


@MODES
async def test_while_the_registry_is_down_messages_are_tried_again_and_no_bad_ones(
    shop: Shop, mode: ExecutionMode
) -> None:
    value = formats.written_avro(shop.registry.url, shop.topic, ORDER)
    door = Door(shop.registry.port, free_port())
    consumer = shop.consumer(mode, [value], partial(formats.avro, door.url), max_attempts=1000)
    with door:
        async with consumer:
            await until(lambda: consumer.get_runtime_snapshot().retries >= 2, consumer.get_runtime_snapshot)
            door.open()
            await until(lambda: seen_in(shop.folder), consumer.get_runtime_snapshot)
            picture = consumer.get_runtime_snapshot()
        formats.close_clients()
    assert (picture.failed, picture.dead_letters.held) == (0, 0)
    assert seen_in(shop.folder)[0].endswith(repr(ORDER))


async def test_a_registry_that_stays_down_ends_in_a_dead_letter_as_any_failure_does(shop: Shop) -> None:
    shop.broker.create_topic(f"{shop.topic}.dlq", 1)
    value = formats.written_avro(shop.registry.url, shop.topic, ORDER)
    deserializer = formats.avro(f"http://127.0.0.1:{free_port()}/apis/ccompat/v7")
    consumer = shop.consumer(ExecutionMode.THREAD, [value], deserializer, max_attempts=3)
    async with consumer:
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.sent == 1, consumer.get_runtime_snapshot)
    [letter] = read_letters(shop.broker.bootstrap_servers, f"{shop.topic}.dlq")
    assert letter.value == value
    assert (letter.ours["x-retry-attempt"], letter.ours["x-error-reason"][:12]) == ("3", "ConnectError")


@MODES
async def test_a_schema_may_evolve_under_a_running_consumer(shop: Shop, mode: ExecutionMode) -> None:
    url, topic = shop.registry.url, shop.topic
    old = formats.written_avro(url, topic, ORDER)
    new = formats.written_avro(url, topic, {**ORDER, "price": 2.5}, formats.AVRO_ORDER_WITH_PRICE)
    assert old[:5] != new[:5], "two schemas"
    consumer = shop.consumer(mode, [old, new], partial(formats.avro_with_price, url))
    async with consumer:
        await until(lambda: len(seen_in(shop.folder)) == 2, consumer.get_runtime_snapshot)
    assert seen_in(shop.folder) == [f"0 1 {ORDER | {'price': 0.0}!r}", f"1 1 {ORDER | {'price': 2.5}!r}"]


@MODES
async def test_what_no_schema_describes_is_a_dead_letter_at_once(shop: Shop, mode: ExecutionMode) -> None:
    shop.broker.create_topic(f"{shop.topic}.dlq", 1)
    value = formats.written_avro(shop.registry.url, shop.topic, ORDER)
    values = [b"plain text", b"\x00\x7f\xff\xff\xff" + value[5:], value[:-2], value]
    make = partial(formats.avro, shop.registry.url)
    consumer = shop.consumer(mode, values, make, max_attempts=3, retry_backoff_ms=60_000)
    async with consumer:
        await until(lambda: seen_in(shop.folder), consumer.get_runtime_snapshot)
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.sent == 3, consumer.get_runtime_snapshot)
        assert consumer.get_runtime_snapshot().retries == 0
    letters = read_letters(shop.broker.bootstrap_servers, f"{shop.topic}.dlq")
    assert [letter.value for letter in letters] == values[:3]
    for offset, letter in enumerate(letters):
        said = f"DecodeError: the value of {shop.topic}-0-{offset} cannot be decoded by "
        assert letter.ours["x-error-reason"].startswith(said)
