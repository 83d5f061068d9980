"""Async workers that call an HTTP service: one session, hundreds of calls at once, the orders of a customer in order.

    python examples/async_http.py          # needs aiohttp

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. The service is a local
one that takes 20 ms for an answer and is overloaded now and then, so some calls are tried again.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict

from aiohttp import ClientSession, ClientTimeout, web

from pyrallel_consumer import DoNotRetry, ExecutionConfig, PyrallelConsumer, RetryLater, WorkItem
from pyrallel_consumer.testing import TrialKafka

ORDERS, CUSTOMERS, PARTITIONS = 800, 100, 4
ANSWER_SECONDS = 0.02


class Pricing:
    """The service: prices an order. Remembers the requests, for the verdict."""

    def __init__(self) -> None:
        self.priced: dict[str, list[int]] = defaultdict(list)
        self.calls = self.refused = self.under_way = self.most_at_once = 0

    async def price(self, request: web.Request) -> web.Response:
        order = await request.json()
        self.calls += 1
        is_overloaded = self.calls % 50 == 0
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(ANSWER_SECONDS)
        self.under_way -= 1
        if is_overloaded:
            self.refused += 1
            return web.Response(status=503, headers={"Retry-After": "0.05"})
        self.priced[order["customer"]].append(order["number"])
        return web.json_response({"cents": 100 * order["pieces"]})


class Pricer:
    """The worker: a method, so that all messages share one session."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.done = 0
        self.all_done = asyncio.Event()

    async def handle(self, item: WorkItem) -> None:
        async with self._session.post(self._url, data=item.payload) as answer:
            if answer.status == 503:
                raise RetryLater(delay_ms=round(1000 * float(answer.headers.get("Retry-After", 1))))
            if 400 <= answer.status < 500:
                raise DoNotRetry(f"the service says {answer.status}: another attempt will not help")
            answer.raise_for_status()
            await answer.json()
        self.done += 1
        if self.done == ORDERS:
            self.all_done.set()


async def served(service: Pricing) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_post("/price", service.price)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}/price"


def orders() -> list[tuple[bytes, bytes]]:
    made = []
    for number in range(ORDERS):
        customer = f"customer-{number % CUSTOMERS}"
        order = {"number": number, "customer": customer, "pieces": 1 + number % 7}
        made.append((customer.encode(), json.dumps(order).encode()))
    return made


async def main() -> int:
    service = Pricing()
    runner, url = await served(service)
    with TrialKafka() as kafka:
        topic = kafka.topic("orders", orders(), partitions=PARTITIONS)
        async with ClientSession(timeout=ClientTimeout(total=5)) as session:
            pricer = Pricer(session, url)
            # No more calls at once than the service bears.
            execution = ExecutionConfig(max_in_flight=100, max_attempts=5)
            begun = time.monotonic()
            async with PyrallelConsumer(kafka.config, pricer.handle, topic=topic, execution_config=execution):
                await asyncio.wait_for(pricer.all_done.wait(), timeout=60)
                took = time.monotonic() - begun
        lag = kafka.lag(topic)
    await runner.cleanup()

    priced = sum(map(len, service.priced.values()))
    in_order = all(numbers == sorted(numbers) for numbers in service.priced.values())
    print(f"{priced} orders priced in {took:.1f} s; one after the other would be {ORDERS * ANSWER_SECONDS:.0f} s")
    print(
        f"{service.most_at_once} calls at once from {PARTITIONS} partitions; {service.refused} refused and tried again"
    )
    holds = priced == ORDERS and in_order and lag == 0 and service.most_at_once > PARTITIONS
    print("OK: all priced, in order by customer, all committed" if holds else f"FAILED: {in_order=} {lag=} {priced=}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
