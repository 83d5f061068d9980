"""The sequential loops of confluent-kafka: what most people write, and the fastest there is.

With the client's defaults: ``poll`` for one message, work, and offsets are committed by the client every 5 s. Tuned:
the library's own client settings, ``consume`` for up to 1,000 at once, every field looked at, nothing committed before
the end of the lap.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import confluent_kafka

from race.lap_plan import LapPlan, read_plan
from race.stopwatch import Stopwatch, leave, tell
from race.tap import open_tap
from race.workers import Reader, blocking_worker

POLL_SECONDS = 0.05
BATCH = 1000


class _Item:
    """A message with its offset as an attribute, as the workers read it."""

    __slots__ = ("message", "offset")

    def __init__(self, message: Any) -> None:
        self.message = message
        self.offset = message.offset()


READER = Reader(lambda item: item.message.partition(), lambda item: item.message.value())


def run(plan: LapPlan) -> dict[str, float]:
    """Returns when all is done, or the time limit has passed."""
    watch = Stopwatch(plan)
    open_tap(watch)
    settings = dict(plan.settings["client"]) | {"bootstrap.servers": plan.bootstrap_servers, "group.id": plan.group}
    client = confluent_kafka.Consumer(settings | dict(plan.client_settings))
    client.subscribe([plan.topic])
    is_noop = plan.work == "noop" and not plan.journal
    read = _all_read if plan.settings["is_tuned"] else _one_read
    finished = (_counted if is_noop else _worked)(plan, watch, lambda: read(client))
    figures = watch.figures(finished)
    if watch.is_over:
        client.close()
    return figures


def _one_read(client: Any) -> list[Any]:
    message = client.poll(POLL_SECONDS)
    return [] if message is None else [message]


def _all_read(client: Any) -> list[Any]:
    message = client.poll(POLL_SECONDS)
    if message is None:
        return []
    messages: list[Any] = client.consume(BATCH - 1, 0)
    messages.append(message)
    return messages


def _counted(plan: LapPlan, watch: Stopwatch, read: Callable[[], list[Any]]) -> int:
    finished, mask = 0, plan.sample_mask
    while not watch.is_over and not watch.is_late():
        for message in read():
            if message.error() is not None:
                raise confluent_kafka.KafkaException(message.error())
            offset = message.offset()
            _ = message.topic(), message.key(), message.value(), message.headers(), message.timestamp()
            finished += 1
            if not offset & mask:
                watch.sample((message.partition(), offset), perf_counter_ns(), message.value())
        if finished >= plan.messages:
            watch.end()
    return finished


def _worked(plan: LapPlan, watch: Stopwatch, read: Callable[[], list[Any]]) -> int:
    worker, finished = blocking_worker(plan, watch, READER)
    while not watch.is_over and not watch.is_late():
        for message in read():
            if message.error() is not None:
                raise confluent_kafka.KafkaException(message.error())
            worker(_Item(message))
            if watch.is_late():
                break
    return finished()


def main() -> None:
    tell(run(read_plan(sys.argv[1])))
    leave()


if __name__ == "__main__":
    main()
