"""``run`` with other objects than a worker: a consumer, several, a function that makes them; and ``--lifespan``."""

from __future__ import annotations

import json
import signal
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import EmbeddedBroker
from tests.integration.conftest import NewTopic, Produce
from tests.integration.program import Program
from tests.integration.run.runs import Runs, quick_environment
from tests.kafka.deadline import wait_until
from tests.kafka_node import free_port

SHOP = """
import asyncio, contextlib, contextvars, os

from pyrallel_consumer import KafkaConfig, PyrallelConsumer

database = contextvars.ContextVar("database")
ORDERS, PAYMENTS = os.environ["ORDERS"], os.environ["PAYMENTS"]


@contextlib.asynccontextmanager
async def lifespan():
    print("enters", flush=True)
    database.set("open")
    yield
    print("leaves", flush=True)


async def order(item):
    print("order", item.offset, database.get("missing"), flush=True)


async def payment(item):
    print("payment", item.offset, database.get("missing"), flush=True)


async def failing(item):
    raise ValueError("no bank")


one = PyrallelConsumer(KafkaConfig(), order, topic=ORDERS)
two = [one, PyrallelConsumer(KafkaConfig(), payment, topic=PAYMENTS, lifespan=lifespan)]
broken = [one, PyrallelConsumer(KafkaConfig(dlq_enabled=False), failing, topic=PAYMENTS)]
mixed = [one, order]
none = []


def make():
    return two


def make_worker():
    return order


def make_nothing():
    pass


def raising():
    raise RuntimeError("no settings")


async def make_async():
    return two
"""


class Shop:
    """A folder with ``shop.py``, two topics with three messages each, and the command."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, orders: str, payments: str) -> None:
        self.orders, self.payments = orders, payments
        (folder / "shop.py").write_text(SHOP)
        topics = {"ORDERS": orders, "PAYMENTS": payments}
        self.runs = Runs(folder, quick_environment(broker) | topics | {"EXECUTION_MAX_ATTEMPTS": "1"})

    def committed(self) -> list[int]:
        return [*self.runs.committed(self.orders), *self.runs.committed(self.payments)]


@pytest.fixture
def shop(embedded_broker: EmbeddedBroker, tmp_path: Path, new_topic: NewTopic, produce: Produce) -> Shop:
    topics = new_topic(1), new_topic(1)
    for topic in topics:
        produce(topic, 3)
    return Shop(embedded_broker, tmp_path, *topics)


def page_at(address: str) -> str:
    with urllib.request.urlopen(address) as answer:  # noqa: S310 -- our own address
        page: bytes = answer.read()
        return page.decode()


def contains(word: str, line: str) -> bool:
    return word in line


def read_until(running: Program, *words: str) -> str:
    """Its output up to the moment when all of ``words`` were said."""
    for word in words:
        if not any(word in line for line in running.said):
            running.until(partial(contains, word), word)
    return "\n".join(running.said)


BOTH = [f"{name} {offset}" for name in ("order", "payment") for offset in range(3)]


@pytest.mark.parametrize("place", ["shop:two", "shop:make"])
def test_several_consumers_run_side_by_side_and_one_signal_drains_all(shop: Shop, place: str) -> None:
    with shop.runs.started(place) as running:
        text = read_until(running, *BOTH)
        running.send(signal.SIGTERM)
        assert running.exit_code() == 0
    text = "\n".join(running.said)
    assert shop.committed() == [3, 3]
    assert "payment 0 open" in text
    assert "order 0 missing" in text, "the lifespan is the other consumer's"
    assert text.count("leaves") == 1
    assert f"{shop.orders}: stopped after" in text


def test_one_endpoint_shows_all_of_them(shop: Shop) -> None:
    with shop.runs.started("shop:two", "--metrics-port", str(free_port())) as running:
        text = read_until(running, *BOTH, "status page, metrics and health at ")
        address = text.split("status page, metrics and health at ")[1].split()[0]
        topics = (shop.orders, shop.payments)
        wait_until(
            lambda: all(topic in page_at(f"{address}metrics") for topic in topics), "both topics are on the page"
        )
        running.send(signal.SIGTERM)
        assert running.exit_code() == 0
    assert text.count(address) == text.count("status page")


@pytest.mark.parametrize("place", ["shop:one", "shop:make_worker"])
def test_a_burst_of_what_a_place_names_ends_with_0(shop: Shop, place: str) -> None:
    topic = () if place == "shop:one" else ("--topic", shop.orders)
    done = shop.runs.done(place, "--burst", *topic)
    assert done.returncode == 0, done.stderr
    assert shop.committed()[0] == 3


def test_a_burst_of_several_ends_when_each_of_them_is_done(shop: Shop) -> None:
    done = shop.runs.done("shop:two", "--burst")
    assert done.returncode == 0, done.stderr
    assert shop.committed() == [3, 3]
    assert done.stdout.count("the burst is done") == 2


def test_when_one_fails_the_others_drain_and_the_exit_code_is_1(shop: Shop) -> None:
    done = shop.runs.done("shop:broken")
    assert done.returncode == 1
    assert "one consumer of 2 has failed, and the others stop" in done.stderr + done.stdout
    assert "no bank" in done.stderr + done.stdout


def test_a_lifespan_is_entered_for_a_worker(shop: Shop) -> None:
    done = shop.runs.done("shop:order", "--topic", shop.orders, "--lifespan", "shop:lifespan", "--burst")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[4]) == ("enters", "leaves")
    assert sorted(lines[1:4]) == [f"order {offset} open" for offset in range(3)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("shop:mixed",), 2, "entry 2 of shop:mixed is order, no PyrallelConsumer"),
        (("shop:none",), 2, "shop:none is an empty list"),
        (
            ("shop:make_nothing",),
            2,
            "shop:make_nothing takes no parameters, so it was called to make consumers, and ret",
        ),
        (("shop:make_async",), 2, "shop:make_async is `async def` without parameters"),
        (("shop:raising",), 1, "RuntimeError: no settings"),
        (("shop:two", "--topic", "orders"), 2, "--topic cannot be given with shop:two"),
        (("shop:two", "--group", "g", "--mode", "async"), 2, "--group, --mode cannot be given with shop:two"),
        (("shop:one", "--lifespan", "shop:lifespan"), 2, "--lifespan cannot be given with shop:one"),
        (("shop:order",), 2, "no topic: give --topic"),
        (
            ("shop:order", "--topic", "t", "--lifespan", "shop:nothing"),
            2,
            "has no 'nothing' for lifespan 'shop:nothing'",
        ),
        (("shop:order", "--topic", "t", "--lifespan", "shop:ORDERS"), 2, "cannot be called: give a function that"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    shop: Shop, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = shop.runs.done(*arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_check_looks_at_each_consumer_and_at_the_lifespan(shop: Shop) -> None:
    def found(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        done = shop.runs.done(*arguments, "--check", "--log-format", "json")
        return done.returncode, json.loads(done.stdout)["findings"]

    code, findings = found("shop:two")
    said = [f"{each['subject']}: {each['text']}" for each in findings]
    assert code == 0
    assert "worker: shop:two: 2 consumers, each with settings of its own" in said
    assert [each for each in said if "1 partition" in each and each.startswith("topic")] == [
        f"topic: {name}: {name}: 1 partition" for name in (shop.orders, shop.payments)
    ]
    code, findings = found("shop:order", "--topic", shop.orders, "--lifespan", "shop:lifespan")
    assert code == 0
    assert [each["text"] for each in findings if each["subject"] == "worker"] == [
        "shop:order (order) runs as tasks, 1000 at once, within shop:lifespan"
    ]
    assert found("shop:order", "--topic", shop.orders, "--lifespan", "shop:nothing")[0] == 2
    code, findings = found("shop:one", "--topic", shop.orders)
    assert code == 2
    assert [each["text"] for each in findings if each["verdict"] == "wrong"] == [
        "--topic cannot be given with shop:one: it names consumers, which have their own settings"
    ]
    assert not [each for each in findings if each["subject"] == "group" and each["verdict"] != "ok"]
