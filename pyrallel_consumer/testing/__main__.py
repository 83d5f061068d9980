"""``python -m pyrallel_consumer.testing``: a broker with orders to consume, for a first try without Kafka.

The orders are JSON, such as ``{"id": 7, "customer": "customer-7", "amount": 17}``, keyed by customer.
"""

from __future__ import annotations

import json
import signal
from typing import Annotated

import typer

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.ingress.admin.scratch_topic import ScratchTopic
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker

MOST_RECORDS = 100_000
"""More of them and the broker, which keeps little, would drop some."""
CUSTOMERS = 100


def order(number: int) -> tuple[bytes, bytes]:
    """A key and a value."""
    customer = f"customer-{number % CUSTOMERS}"
    value = {"id": number, "customer": customer, "amount": 10 + number % 90}
    return customer.encode(), json.dumps(value).encode()


def serve(
    topic: Annotated[str, typer.Argument(help="The topic to create and fill, and TOPIC.dlq beside it.")] = "orders",
    records: Annotated[int, typer.Option(min=0, max=MOST_RECORDS, help="Orders to put into it.")] = 1000,
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Its partitions.")] = 4,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The broker's port; 0 takes any free port.")] = 0,
) -> None:
    """Start a Kafka broker on this machine, with orders to consume. Ctrl-C ends it."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with EmbeddedBroker(port=port) as broker:
        config = KafkaConfig(bootstrap_servers=broker.bootstrap_servers, security_protocol=None)
        for name in (topic, topic + config.dlq_topic_suffix):
            broker.create_topic(name, partitions)
        ScratchTopic(config, topic, partitions).append(map(order, range(records)))
        typer.echo(f"# {records:,} orders are in topic {topic}. In another shell:")
        typer.echo(f"export KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap_servers}")
        typer.echo("# Ctrl-C ends the broker and deletes its topics.")
        signal.sigwait(signals)


if __name__ == "__main__":
    program = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)
    program.command()(serve)
    program()
