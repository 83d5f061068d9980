"""Typed payloads in whole consumers, in every mode: values that workers get, and messages that cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer
from tests.integration.conftest import Produce
from tests.integration.consuming import MODES_OF_THIS_MACHINE, committed, execution, kafka, new_group, until
from tests.integration.typed_orders import Order, OrderDict, OrderRecord, make_upper, note, note_async, out_of_order
from tests.letter_box import read_letters

MODES = pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)


class Shop(NamedTuple):
    """A topic of the test's own."""

    broker: EmbeddedBroker
    topic: str
    produce: Produce

    def consumer(
        self, mode: ExecutionMode, folder: Path, values: Sequence[bytes | None], *, key: bytes = b"a key", **more: Any
    ) -> PyrallelConsumer:
        """A consumer of messages with these values; its worker notes them in ``folder``. ``more`` are its arguments."""
        self.produce(self.topic, len(values), key_of=lambda _: key, value_of=lambda i: values[i])
        worker = more.pop("worker", partial(note_async if mode is ExecutionMode.ASYNC else note, str(folder)))
        typed = {name: more.pop(name) for name in [*more] if name.endswith(("_type", "_deserializer"))}
        return PyrallelConsumer(
            kafka(self.broker.bootstrap_servers, new_group()),
            worker,
            topic=self.topic,
            execution_config=execution(mode=mode, worker_pool_size=1, **more),
            **typed,
        )


@pytest.fixture
def shop(embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce) -> Shop:
    return Shop(embedded_broker, new_topic(1), produce)


def seen_in(folder: Path) -> list[str]:
    seen = folder / "seen"
    return sorted(seen.read_text().splitlines()) if seen.exists() else []


@MODES
@pytest.mark.parametrize(
    ("kind", "shown"),
    [(Order, "Order(number=7)"), (OrderRecord, "OrderRecord(number=7)"), (OrderDict, "{'number': 7}")],
)
async def test_the_worker_gets_the_type_and_the_raw_bytes(
    shop: Shop, tmp_path: Path, mode: ExecutionMode, kind: Any, shown: str
) -> None:
    values = [b'{"number": 7}', None]
    consumer = shop.consumer(mode, tmp_path, values, key=b'{"number": 7}', value_type=kind, key_type=kind)
    async with consumer:
        await until(lambda: len(seen_in(tmp_path)) == 2, consumer.get_runtime_snapshot)
    raw = """b'{"number": 7}'"""
    assert [line.replace("typed_orders.", "") for line in seen_in(tmp_path)] == [
        f"0 1 {shown} {shown} {raw} {raw}",
        f"1 1 None {shown} None {raw}",
    ]


@MODES
async def test_what_cannot_be_decoded_is_a_dead_letter_at_once_with_its_raw_bytes(
    shop: Shop, tmp_path: Path, mode: ExecutionMode
) -> None:
    topic = shop.topic
    shop.broker.create_topic(f"{topic}.dlq", 1)
    values = [b'{"number": 7}', b'{"number": "seven"}', b"\xff\x00", b'{"number": 8}']
    consumer = shop.consumer(mode, tmp_path, values, value_type=Order, max_attempts=3, retry_backoff_ms=60_000)
    async with consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 4, consumer.get_runtime_snapshot)
        assert consumer.get_runtime_snapshot().retries == 0
    assert [line.split()[0] for line in seen_in(tmp_path)] == ["0", "3"]
    assert committed(shop.broker.bootstrap_servers, consumer.config.consumer_group, topic) == [4]
    letters = read_letters(shop.broker.bootstrap_servers, f"{topic}.dlq")
    assert [(letter.value, letter.key) for letter in letters] == [(values[1], b"a key"), (values[2], b"a key")]
    assert [(letter.ours["offset"], letter.ours["x-retry-attempt"]) for letter in letters] == [("1", "1"), ("2", "1")]
    reasons = [letter.ours["x-error-reason"] for letter in letters]
    assert reasons[0] == (
        f"DecodeError: the value of {topic}-0-1 cannot be decoded by Order: number: Input should be a valid "
        "integer, unable to parse string as an integer"
    )
    assert reasons[1].startswith(f"DecodeError: the value of {topic}-0-2 cannot")


async def test_an_async_worker_in_processes_gets_the_type_too(shop: Shop, tmp_path: Path) -> None:
    worker = partial(note_async, str(tmp_path))
    consumer = shop.consumer(ExecutionMode.PROCESS, tmp_path, [b'{"number": 7}'], worker=worker, value_type=Order)
    async with consumer:
        await until(lambda: len(seen_in(tmp_path)) == 1, consumer.get_runtime_snapshot)
    assert "Order(number=7)" in seen_in(tmp_path)[0]


@MODES
async def test_a_registry_that_is_down_is_tried_again(shop: Shop, tmp_path: Path, mode: ExecutionMode) -> None:
    deserializer = out_of_order if mode is ExecutionMode.PROCESS else fails_twice()
    consumer = shop.consumer(mode, tmp_path, [b"value-0"], value_deserializer=deserializer, max_attempts=3)
    async with consumer:
        await until(lambda: len(seen_in(tmp_path)) == 1, consumer.get_runtime_snapshot)
        await until(lambda: consumer.get_runtime_snapshot().processed == 1, consumer.get_runtime_snapshot)
        picture = consumer.get_runtime_snapshot()
    assert (picture.retries, picture.dead_letters.sent) == (2, 0)
    assert seen_in(tmp_path)[0].startswith("0 3 b'value-0'")


def fails_twice() -> Callable[..., object]:
    calls: list[object] = []

    def deserializer(data: bytes | None, context: object) -> object:
        calls.append(context)
        if len(calls) <= 2:
            raise ConnectionRefusedError("the registry does not answer")
        return data

    return deserializer


@MODES
async def test_a_function_makes_the_deserializer_where_the_worker_runs(
    shop: Shop, tmp_path: Path, mode: ExecutionMode
) -> None:
    consumer = shop.consumer(mode, tmp_path, [b"v"], value_deserializer=make_upper)
    async with consumer:
        await until(lambda: len(seen_in(tmp_path)) == 1, consumer.get_runtime_snapshot)
    assert seen_in(tmp_path) == [f"0 1 '{shop.topic}/value/V' b'a key' b'v' b'a key'"]
