"""A FastAPI application that consumes beside serving, and loses nothing when it is stopped or deployed again.

    python examples/fastapi_app.py         # needs fastapi and uvicorn

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. The application's
lifespan starts the consumer and stops it. The trial starts the application by uvicorn, sends it SIGTERM in the middle
of its work, as Kubernetes does, and starts it again. Then it looks for orders that were lost or handled twice. To serve
for yourself: ORDERS_TOPIC=orders ORDERS_JOURNAL=orders.txt uvicorn --app-dir examples fastapi_app:app
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response

from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

ORDERS, WORKER_SECONDS = 400, 0.1


# ---- the application


async def handle(item: WorkItem) -> None:
    await asyncio.sleep(WORKER_SECONDS)
    await asyncio.to_thread(note, item.payload or b"")


def note(order: bytes) -> None:
    with Path(os.environ["ORDERS_JOURNAL"]).open("ab") as journal:
        journal.write(order + b"\n")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # The drain must fit into what the process is granted before it is killed (Kubernetes: 30 s).
    execution = ExecutionConfig(max_in_flight=40, shutdown_drain_timeout_ms=10_000)
    topic = os.environ["ORDERS_TOPIC"]
    async with PyrallelConsumer(KafkaConfig(), handle, topic=topic, execution_config=execution) as consumer:
        app.state.consumer = consumer
        yield  # uvicorn goes on from here when its last request is answered: the consumer drains, commits, leaves


app = FastAPI(lifespan=lifespan)


@app.get("/progress")
async def progress() -> dict[str, Any]:
    seen = app.state.consumer.get_runtime_snapshot()
    return {"done": seen.processed, "in_flight": seen.in_flight, "queued": seen.queued}


@app.get("/ready")
async def ready(response: Response) -> dict[str, str]:
    """Ready while it consumes; one that fails has to be replaced."""
    state = app.state.consumer.get_runtime_snapshot().state
    response.status_code = 200 if state == "running" else 503
    return {"state": state}


# ---- the trial


class Server:
    """The application under uvicorn, in a process of its own, on a free port."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        handed = str(self._socket.fileno())
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "fastapi_app:app"]
        self._process = subprocess.Popen(
            [*command, "--fd", handed, "--log-level", "warning"],
            env=os.environ | environment,
            pass_fds=[int(handed)],
        )

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self._url + path, timeout=60) as answer:  # noqa: S310 -- ours
            body: dict[str, Any] = json.load(answer)
        return body

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not is_so():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise SystemExit("FAILED: the application does not get on")
            time.sleep(0.05)

    def terminate(self) -> None:
        """What a deployment does."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        self._socket.close()


def main(journal: Path) -> int:
    journal.touch()
    with TrialKafka() as kafka:
        numbers = [(b"customer-%d" % (number % 100), b"%d" % number) for number in range(ORDERS)]
        topic = kafka.topic("orders", numbers)
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.config.bootstrap_servers),
            "KAFKA_CONSUMER_GROUP": kafka.config.consumer_group,
            "ORDERS_TOPIC": topic,
            "ORDERS_JOURNAL": str(journal),
        }
        first = Server(environment)
        first.until(lambda: first.get("/progress")["done"] > ORDERS // 4)
        print(f"the application says {first.get('/progress')}; it is told to stop")
        first.terminate()
        before = len(journal.read_text().split())
        print(f"it ended: {before} orders are handled, {kafka.lag(topic)} of {ORDERS} not committed")
        second = Server(environment)
        second.until(lambda: kafka.lag(topic) == 0)
        second.terminate()

    handled = Counter(journal.read_text().split())
    twice = sum(handled.values()) - len(handled)
    print(
        f"started again, it handled {sum(handled.values()) - before}; {ORDERS - len(handled)} lost, {twice} ran twice"
    )
    holds = len(handled) == ORDERS and twice == 0 and before < ORDERS
    print("OK: a deployment loses nothing and repeats nothing" if holds else "FAILED: see the numbers above")
    return 0 if holds else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder) / "orders.txt"))
