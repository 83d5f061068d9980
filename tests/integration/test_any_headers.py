"""Records with arbitrary header bytes are all processed, and every failed one has a letter."""

from __future__ import annotations

import random

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer, WorkItem
from tests.integration.consuming import execution, kafka, new_group, until
from tests.letter_box import read_letters
from tests.raw_record import NOT_UTF8, produce_raw

RECORDS = 60
FAILS_EVERY = 3
"""Some messages fail, so that letters with such headers are written too."""
NAMES = [
    b"",
    b"\0",
    NOT_UTF8,
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"offset",
    b"x-error-reason",
    b"traceparent",
    "\u2028".encode(),
]


def headers_of_any_kind(chance: random.Random) -> list[tuple[bytes, bytes | None]]:
    def name() -> bytes:
        return chance.choice(NAMES) if chance.random() < 0.5 else chance.randbytes(chance.randrange(1, 9))

    def value() -> bytes | None:
        return None if chance.random() < 0.2 else chance.randbytes(chance.choice([0, 1, 5, 300]))

    return [(name(), value()) for _ in range(chance.randrange(6))]


@pytest.fixture(scope="module")
def topic(embedded_broker: EmbeddedBroker) -> str:
    """A topic with such records; keys and values number them."""
    chance = random.Random(18)
    embedded_broker.create_topic("any-headers", 1)
    for number in range(RECORDS):
        text = b"%d" % number
        produce_raw(embedded_broker.bootstrap_servers, "any-headers", text, text, headers_of_any_kind(chance))
    return "any-headers"


def plain_worker(item: WorkItem) -> None:
    """Looks at the headers, and fails for some messages."""
    sizes = [len(name) + len(value or b"") for name, value in item.headers]
    if int(item.payload or b"0") % FAILS_EVERY == 0:
        raise ValueError(f"headers of {sum(sizes)} bytes")


async def async_worker(item: WorkItem) -> None:
    plain_worker(item)


@pytest.mark.parametrize("mode", [ExecutionMode.ASYNC, ExecutionMode.THREAD, ExecutionMode.PROCESS])
async def test_headers_of_any_bytes_end_nothing_and_skip_nothing(
    embedded_broker: EmbeddedBroker, topic: str, mode: ExecutionMode
) -> None:
    suffix = f".{mode.value}"
    embedded_broker.create_topic(f"{topic}{suffix}", 1)
    config = kafka(embedded_broker.bootstrap_servers, new_group(), dlq_topic_suffix=suffix)
    worker = async_worker if mode is ExecutionMode.ASYNC else plain_worker
    ends = execution(mode=mode, max_attempts=2, worker_pool_size=1)

    async with PyrallelConsumer(config, worker, topic, execution_config=ends) as consumer:

        def is_done() -> bool:
            partitions = consumer.get_runtime_snapshot().partitions
            return bool(partitions) and partitions[0].committed_offset == RECORDS

        await until(is_done, consumer.get_runtime_snapshot)

    letters = read_letters(embedded_broker.bootstrap_servers, f"{topic}{suffix}")
    expected = list(range(0, RECORDS, FAILS_EVERY))
    assert sorted(int(letter.value or b"") for letter in letters) == expected
    assert sorted(int(letter.ours["offset"]) for letter in letters) == expected
