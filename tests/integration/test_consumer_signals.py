"""SIGINT and SIGTERM to a program that consumes: the first drains, the second aborts, and no way hangs."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, StateError, WorkItem
from tests.integration.conftest import Produce
from tests.integration.consuming import PATIENCE_SECONDS, committed, kafka, new_group
from tests.integration.program import Program, running_program

NewTopic = Callable[[int], str]


def program(*arguments: str) -> AbstractContextManager[Program]:
    return running_program(sys.executable, "-m", "tests.integration.signalled_program", *arguments)


@pytest.fixture
def topic(new_topic: NewTopic, produce: Produce) -> str:
    """Twenty messages, each of a key of its own."""
    name = new_topic(1)
    produce(name, 20, key_of=lambda i: b"key-%d" % i)
    return name


@pytest.mark.parametrize(("way", "number"), [("run_forever", signal.SIGTERM), ("run", signal.SIGINT)])
def test_the_first_signal_lets_running_work_finish_commits_it_and_exits_with_0(
    embedded_broker: EmbeddedBroker, topic: str, way: str, number: signal.Signals
) -> None:
    group = new_group()
    with program(way, "finish", embedded_broker.bootstrap_servers, topic, group) as running:
        running.until_said("all running")
        running.send(number)

        assert running.exit_code() == 0
        finished = sorted(line for line in running.said if line.startswith("finished"))
        assert finished == [f"finished {i}" for i in range(5)]
        assert "returned closed" in running.said
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [5]


def test_the_second_signal_aborts_and_says_so_in_the_exit_code(embedded_broker: EmbeddedBroker, topic: str) -> None:
    group = new_group()
    with program("run_forever", "hang", embedded_broker.bootstrap_servers, topic, group) as running:
        running.until_said("all running")
        running.send(signal.SIGTERM)
        running.until_said("stopping")
        running.send(signal.SIGTERM)

        assert running.exit_code() == 128 + signal.SIGTERM
        assert "aborting" in running.complaints()
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]


@pytest.mark.parametrize(
    ("way", "exit_code", "last_words"),
    [("run_forever", 0, ["returned closed", "(the end)"]), ("plain", -signal.SIGINT, ["(the end)"])],
)
def test_a_signal_while_it_starts_ends_it_without_waiting_for_the_broker(
    way: str, exit_code: int, last_words: list[str]
) -> None:
    with EmbeddedBroker() as broker:
        nowhere = broker.bootstrap_servers
    with program(way, "finish", nowhere, "orders", new_group()) as running:
        running.until_said("starting")
        running.until_logged("Connect to")
        running.send(signal.SIGINT)

        assert running.exit_code() == exit_code
        assert running.said == ["starting", *last_words]
        assert "BrokerUnreachableError" not in running.complaints()


@pytest.mark.parametrize("kind", ["finish", "hang"])
def test_ctrl_c_without_run_commits_what_is_finished_and_exits(
    embedded_broker: EmbeddedBroker, topic: str, kind: str
) -> None:
    group = new_group()
    with program("plain", kind, embedded_broker.bootstrap_servers, topic, group) as running:
        running.until_said("all running")
        running.send(signal.SIGINT)

        assert running.exit_code() == -signal.SIGINT
        complaints = running.complaints()
        assert complaints.rstrip().endswith("KeyboardInterrupt")
        assert "failed its last attempt" not in complaints
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]


def test_run_outside_of_the_main_thread_says_what_to_use_instead(embedded_broker: EmbeddedBroker, topic: str) -> None:
    async def worker(item: WorkItem) -> None:
        pytest.fail("it did not start")

    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), worker, topic)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            consumer.run_forever()
        except StateError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE_SECONDS)

    assert "use start() and stop() here" in str(raised[0])


def test_the_handlers_that_were_there_before_run_are_there_again(embedded_broker: EmbeddedBroker, topic: str) -> None:
    async def worker(item: WorkItem) -> None:
        if item.offset == 0:
            signal.raise_signal(signal.SIGTERM)

    def mine(number: int, _: object) -> None:
        pytest.fail("run() has taken the signals")

    before = signal.signal(signal.SIGTERM, mine)
    try:
        PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), worker, topic).run_forever()
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
