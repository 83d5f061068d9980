"""This library: each message becomes one record in another topic, and the worker does nothing else.

Arguments: bootstrap servers, source, target, group, milliseconds between commits, delivery. It runs until SIGTERM.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pyrallel_consumer import (
    Delivery,
    KafkaConfig,
    OutputConfig,
    ParallelConsumerConfig,
    PyrallelConsumer,
    Record,
    WorkItem,
)


def main() -> None:
    servers, source, target, group, commit_ms, delivery = sys.argv[1:7]
    logging.basicConfig(level=logging.WARNING)

    async def worker(item: WorkItem) -> Record:
        return Record(target, item.payload, item.key)

    config = KafkaConfig(
        bootstrap_servers=servers,
        consumer_group=group,
        dlq_enabled=False,
        parallel_consumer=ParallelConsumerConfig(commit_interval_ms=int(commit_ms)),
    )
    output = OutputConfig(delivery=Delivery(delivery))
    consumer = PyrallelConsumer(config, worker, source, output=output)
    if os.environ.get("PROFILE"):
        import cProfile  # noqa: PLC0415 -- only where it is asked for

        profile = cProfile.Profile()
        try:
            profile.runcall(consumer.run_forever)
        finally:
            profile.dump_stats(os.environ["PROFILE"])
    else:
        consumer.run_forever()


if __name__ == "__main__":
    main()
