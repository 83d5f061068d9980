"""The yardstick for throughput: a loop over ``poll`` and ``consume`` that looks at every field and does nothing else.

It reads with the same client settings as the library, commits nothing and keeps no books: nobody can consume this topic
with Python and this client much faster. Also the yardstick for idling: a client that only polls.
"""

from __future__ import annotations

import time
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message
from consumer_setup import kafka_config
from job import Figures, Job
from process_cpu import idle_figures

from pyrallel_consumer.ingress.client.client_settings import consumer_configuration

BATCH: Final = 1000
POLL_SECONDS: Final = 0.05
GIVE_UP_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 1.0


def throughput(job: Job) -> Figures:
    """Messages per second from the first message to the last, and the process's CPU for each."""
    consumer = Consumer(consumer_configuration(kafka_config(job)))
    consumer.subscribe([job.topic])
    deadline = time.perf_counter() + GIVE_UP_SECONDS
    while (first := consumer.poll(POLL_SECONDS)) is None:
        if time.perf_counter() > deadline:
            raise TimeoutError("no message came")
    started_at, cpu_at = time.perf_counter(), time.process_time()
    _touch([first])
    count = 1
    while count < job.messages and time.perf_counter() < deadline:
        message = consumer.poll(POLL_SECONDS)
        if message is None:
            continue
        messages = consumer.consume(BATCH - 1, 0)
        messages.append(message)
        _touch(messages)
        count += len(messages)
    seconds, cpu_seconds = time.perf_counter() - started_at, time.process_time() - cpu_at
    consumer.close()
    return {
        "messages_per_second": count / seconds,
        "cpu_us_per_message": cpu_seconds / count * 1e6,
        "seconds": seconds,
        "processed": count,
    }


def idle(job: Job) -> Figures:
    """CPU of a process whose client polls a topic without messages."""
    consumer = Consumer(consumer_configuration(kafka_config(job)))
    consumer.subscribe([job.topic])
    while not consumer.assignment():
        consumer.poll(POLL_SECONDS)

    def poll_for(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            consumer.poll(POLL_SECONDS)

    poll_for(SETTLE_SECONDS)
    with idle_figures() as figures:
        poll_for(job.seconds)
    consumer.close()
    return figures


def _touch(messages: list[Message]) -> None:
    for message in messages:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        _: Any = message.topic(), message.partition(), message.offset(), message.timestamp()
        _ = message.key(), message.value(), message.headers()
