"""Process workers that log from finalizers and signal handlers at any moment: none of them deadlocks."""

from __future__ import annotations

import gc
import logging
import signal
import threading

import pytest

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, WorkItem
from tests.integration.conftest import producing_to
from tests.integration.consuming import execution, kafka, new_group, until

MESSAGES = 60
LONG = "x" * 20_000
log = logging.getLogger("finalizers")


class Logging:
    """Garbage in a cycle: its finalizer runs at some moment in whatever the thread does then."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        log.info("finalized %s", LONG)


def interrupt_often() -> None:
    signal.signal(signal.SIGALRM, lambda *_: log.info("interrupted %s", LONG))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    gc.set_threshold(10)


def worker(item: WorkItem) -> None:
    thread = threading.Thread(target=log.info, args=("beside %d %s", item.offset, LONG))
    thread.start()
    for _ in range(5):
        Logging()
        log.info("worked on %d %s", item.offset, LONG)
    thread.join()


async def test_workers_that_log_from_finalizers_and_signal_handlers_go_on(
    embedded_broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "finalizers")
    topic = "finalizers"
    embedded_broker.create_topic(topic, 1)
    producing_to(embedded_broker.bootstrap_servers)(topic, MESSAGES, partitions=1)
    once = execution(mode="process", worker_pool_size=1, initializer=interrupt_often)
    config = kafka(embedded_broker.bootstrap_servers, new_group())

    async with PyrallelConsumer(config, worker, topic, execution_config=once) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == MESSAGES)

    said = [record.getMessage().split(" ")[0] for record in caplog.records if record.name == "finalizers"]
    assert {"worked", "beside", "finalized", "interrupted"} == set(said)
    assert (said.count("worked"), said.count("beside")) == (5 * MESSAGES, MESSAGES)
