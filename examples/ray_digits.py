"""A model on the actors of a Ray cluster: handwritten digits in batches of 32, in order for each customer.

    python examples/ray_digits.py

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set; and on the Ray cluster
of RAY_ADDRESS, or on one on this machine. The model is trained in a second, by each actor, from the digits that
scikit-learn ships; in its place stands whatever a GPU loads once and wants to call for many rows at a time. Customers
send digits one by one. A batch has messages of up to 32 customers: never two of the same customer, unless the first is
done.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from pyrallel_consumer import ExecutionConfig, ExecutionMode, PyrallelConsumer, RayConfig, WorkItem
from pyrallel_consumer.testing import TrialKafka

BATCH, CUSTOMERS, LEARNED = 32, 200, 600
MODEL: ContextVar[Any] = ContextVar("MODEL")


@asynccontextmanager
async def model() -> AsyncIterator[None]:
    """The lifespan: entered once in each actor, before its first batch."""
    digits = load_digits()
    MODEL.set(SVC(gamma=0.001).fit(digits.data[:LEARNED], digits.target[:LEARNED]))
    yield


async def read_digits(file: Path, items: list[WorkItem]) -> None:
    """One call of the model for the whole batch. It appends the digits that it read to a file."""
    images = np.frombuffer(b"".join(item.payload or b"" for item in items), dtype=np.uint8).reshape(len(items), 64)
    read = MODEL.get().predict(images)
    lines = [
        f"{item.key.decode()} {item.offset} {digit} {len(items)} {os.getpid()}\n"
        for item, digit in zip(items, read, strict=True)
        if item.key is not None
    ]
    with file.open("a", encoding="ascii") as output:
        output.write("".join(lines))


def sent() -> list[tuple[bytes, bytes]]:
    """The digits that the model has not learned, each from the next customer."""
    images = load_digits().data[LEARNED:].astype(np.uint8)
    return [(f"customer-{number % CUSTOMERS}".encode(), image.tobytes()) for number, image in enumerate(images)]


async def main(file: Path) -> int:
    with TrialKafka() as kafka:
        topic = kafka.topic("digits", sent(), partitions=1)
        consumer = PyrallelConsumer(
            kafka.config,
            partial(read_digits, file),
            topic=topic,
            execution_config=ExecutionConfig(mode=ExecutionMode.RAY, batch_size=BATCH, max_in_flight=256),
            ray=RayConfig(min_actors=2, max_actors=2, num_cpus=0.5, start_timeout_ms=240_000),
            lifespan=model,
        )
        async with consumer:
            await kafka.until_done(topic, timeout_seconds=240)
    return verdict(file)


def verdict(file: Path) -> int:
    lines = [line.split() for line in file.read_text("ascii").splitlines()]
    targets = load_digits().target[LEARNED:]
    offsets: dict[str, list[int]] = defaultdict(list)
    for customer, offset, *_ in lines:
        offsets[customer].append(int(offset))
    right = sum(targets[int(offset)] == int(digit) for _, offset, digit, *_ in lines) / len(lines)
    largest = max(int(size) for *_, size, _ in lines)
    calls = sum(1 / int(size) for *_, size, _ in lines)
    actors = {pid for *_, pid in lines}
    print(f"{len(lines)} digits of {len(offsets)} customers in {calls:.0f} calls by {len(actors)} actors")
    print(f"{right:.1%} of them read right; the largest call had {largest}")
    holds = (
        sorted(int(line[1]) for line in lines) == list(range(len(targets)))
        and all(each == sorted(each) for each in offsets.values())
        and largest == BATCH
        and right > 0.9
    )
    print("OK: every digit was read once, in order for each customer" if holds else "FAILED")
    return 0 if holds else 1


if __name__ == "__main__":
    if "RAY_ADDRESS" not in os.environ:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(main(Path(folder) / "read.txt")))
