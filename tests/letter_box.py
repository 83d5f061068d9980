"""The content of a dead-letter topic, read from outside by a plain client. Knows nothing of the library."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, KafkaException, TopicPartition

TIMEOUT_SECONDS = 30.0
Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class FoundLetter:
    """One record of a dead-letter topic. ``ours`` are the last headers of each name, as text."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int
    partition: int
    offset: int

    @property
    def ours(self) -> dict[str, str]:
        return {name: (value or b"").decode(errors="replace") for name, value in self.headers}

    @property
    def source(self) -> tuple[str, int, int]:
        """Topic, partition and offset of the message."""
        ours = self.ours
        return ours["source-topic"], int(ours["partition"]), int(ours["offset"])


def read_letters(bootstrap_servers: str, topic: str) -> list[FoundLetter]:
    """All letters that are in the topic now, partition by partition; empty if the topic does not exist."""
    client = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "letter-box", "enable.auto.commit": False})
    try:
        found = client.list_topics(topic, TIMEOUT_SECONDS).topics[topic]
        places = [TopicPartition(topic, number) for number in found.partitions] if found.error is None else []
        return [letter for place in places for letter in _read(client, place)]
    finally:
        client.close()


def _read(client: Consumer, place: TopicPartition) -> list[FoundLetter]:
    low, high = client.get_watermark_offsets(place, TIMEOUT_SECONDS)
    client.assign([TopicPartition(place.topic, place.partition, low)])
    letters: list[FoundLetter] = []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while low < high:
        assert time.monotonic() < deadline, f"{place.topic}[{place.partition}] ends at {high}, {low} is not to be had"
        message = client.poll(0.1)
        if message is None:
            low = max(low, client.position([place])[0].offset)
            continue
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        offset = message.offset()
        assert offset is not None
        low = offset + 1
        headers = cast("Headers", message.headers() or [])
        letters.append(
            FoundLetter(message.key(), message.value(), headers, message.timestamp()[1], place.partition, offset)
        )
    return letters
