"""SIGINT and SIGTERM to a program that consumes: the first drains, the second aborts, and no path hangs."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer, StateError, WorkItem
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import PATIENCE_SECONDS, committed, execution, kafka, new_group, until
from tests.integration.program import Program, running_program


def program(*arguments: str) -> AbstractContextManager[Program]:
    return running_program(sys.executable, "-m", "tests.integration.consumer.signalled_program", *arguments)


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


def test_a_drain_that_is_cut_off_names_what_it_did_not_wait_for_and_exits_with_a_code_of_its_own(
    embedded_broker: EmbeddedBroker, topic: str
) -> None:
    group = new_group()
    with program("run_forever", "hang", embedded_broker.bootstrap_servers, topic, group, "100") as running:
        running.until_said("all running")
        running.send(signal.SIGTERM)

        assert running.exit_code() == 3
        [told] = [line for line in running.complaints().splitlines() if "cut off" in line]
        names = ", ".join(f"{topic}-0-{offset}" for offset in range(5))
        assert f"5 messages were cut off and will run again: {names}" in told
        assert "0.1 s (shutdown_drain_timeout_ms)" in told
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_all_consumers_of_a_program_drain_at_the_first_signal_and_those_left_abort_at_the_second(
    embedded_broker: EmbeddedBroker, topic: str, kind: str, number: signal.Signals
) -> None:
    running: set[str] = set()

    def consumer(name: str) -> PyrallelConsumer:
        async def worker(item: WorkItem) -> None:
            running.add(name)
            if len(running) == 2:
                signal.raise_signal(number)
            while name == "hangs" or made[name].get_runtime_snapshot().state == "running":
                await asyncio.sleep(0.01)

        settings = execution(max_in_flight=1, shutdown_drain_timeout_ms=3_600_000)
        config = kafka(embedded_broker.bootstrap_servers, new_group())
        return PyrallelConsumer(config, worker, topic, execution_config=settings)

    async def main() -> None:
        made.update({name: consumer(name) for name in ("drains", "hangs")})
        runs = {name: asyncio.create_task(each.run()) for name, each in made.items()}
        await runs["drains"]
        signal.raise_signal(number)
        await runs["hangs"]

    made: dict[str, PyrallelConsumer] = {}
    loops = asyncio if kind == "asyncio" else pytest.importorskip("uvloop", reason="uvloop is an extra")
    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), PATIENCE_SECONDS))
    drains, hangs = made["drains"], made["hangs"]
    assert (drains.stopped_by, drains.aborted_by, drains.cut_off) == (number, None, 0)
    assert (hangs.stopped_by, hangs.aborted_by, hangs.cut_off) == (number, number, 1)


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_children_that_a_worker_forks_can_be_terminated_and_the_consumer_does_not_hear_of_it(
    embedded_broker: EmbeddedBroker, topic: str, kind: str
) -> None:
    fork = multiprocessing.get_context("fork")
    exit_codes: list[int | None] = []

    def worker(item: WorkItem) -> None:
        child = fork.Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
        child.terminate()
        child.join(PATIENCE_SECONDS)
        exit_codes.append(child.exitcode)
        child.kill()

    settings = execution(mode=ExecutionMode.THREAD, worker_pool_size=2)
    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group()), worker, topic, execution_config=settings
    )

    async def main() -> None:
        running = asyncio.create_task(consumer.run())
        await until(lambda: len(exit_codes) == 20 or running.done())
        await consumer.stop()
        await running

    loops = asyncio if kind == "asyncio" else pytest.importorskip("uvloop", reason="uvloop is an extra")
    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(main())
    assert exit_codes == [-signal.SIGTERM] * 20
    assert consumer.stopped_by is None


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
