"""Two consumers that share an endpoint and never come to rest, on an event loop of their own thread.

In the first one some messages fail again and again, one hangs, and what is behind it waits.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self

from pyrallel_consumer import MetricsConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce
from tests.integration.consuming import execution, kafka, new_group

PATIENCE_SECONDS = 60.0
PARTITIONS = 2
KEYS = 20
HANGS_AT = 5
FAILING_KEY = 12
"""A value for the key that waits behind the hanging one, in the same partition."""
KEY_IN_CLEAR = "alice"
PAYLOAD = "card-number"


class BusyShop:
    """``topic`` is what the busy consumer reads, ``url`` where the page is."""

    def __init__(self, broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce) -> None:
        self.topic, self.quiet_topic = new_topic(PARTITIONS), new_topic(1)
        self.group, self.quiet_group = new_group(), new_group()
        self.address = f"127.0.0.1:{_free_port()}"
        self._broker = broker
        self._produce = produce
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="busy-shop", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://{self.address}/"

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            self._ready.set_exception(error)
            raise

    async def _live(self) -> None:
        self._loop, self._closing, self._released = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        slow = execution(retry_backoff_ms=600_000, max_retry_backoff_ms=600_000, task_timeout_ms=0)
        first = PyrallelConsumer(self._settings(self.group), self._work, self.topic, execution_config=slow)
        second = PyrallelConsumer(self._settings(self.quiet_group), self._work, self.quiet_topic)
        async with first, second:
            self._ready.set_result(None)
            while not self._closing.is_set():
                await asyncio.to_thread(self._produce, self.topic, 100, _key, lambda _: PAYLOAD.encode(), PARTITIONS)
                await asyncio.sleep(0.1)
            self._released.set()

    async def _work(self, item: WorkItem) -> None:
        if item.partition == 0 and item.offset == HANGS_AT:
            await self._released.wait()
        if item.key == _key(FAILING_KEY):
            raise ValueError("this key always fails")
        await asyncio.sleep(0.002)

    def _settings(self, group: str) -> Any:
        host, port = self.address.split(":")
        metrics = MetricsConfig(enabled=True, host=host, port=int(port))
        return kafka(self._broker.bootstrap_servers, group, metrics=metrics)


def _key(number: int) -> bytes:
    return f"{KEY_IN_CLEAR}-{number % KEYS}".encode()


def _free_port() -> int:
    """A port that seems free: consumers share an endpoint only if they name its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
