"""Building a ``PyrallelConsumer``: every spelling that users write, and every refusal before anything is connected."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyrallel_consumer import (
    ConfigurationError,
    ExecutionConfig,
    ExecutionMode,
    KafkaConfig,
    ParallelConsumerConfig,
    PyrallelConsumer,
    StateError,
    TopicPartition,
    WorkerMismatchError,
    WorkItem,
)
from tests.third_party_engine import ThirdPartyEngine


async def worker(item: WorkItem) -> None:
    raise AssertionError("no worker runs while a consumer is built")


def blocking_worker(item: WorkItem) -> None:
    raise AssertionError("no worker runs while a consumer is built")


class CallableWorker:
    async def __call__(self, item: WorkItem) -> None:
        raise AssertionError("no worker runs while a consumer is built")

    async def handle(self, item: WorkItem) -> None:
        raise AssertionError("no worker runs while a consumer is built")


@pytest.fixture(autouse=True)
def nothing_is_started() -> Iterator[None]:
    before = set(threading.enumerate())  # A thread of an earlier test may end meanwhile.
    yield
    assert set(threading.enumerate()) <= before


def test_config_worker_and_topic_are_given_by_name_or_by_position() -> None:
    config = KafkaConfig(consumer_group="a")

    PyrallelConsumer(config=config, worker=worker, topic="orders")
    PyrallelConsumer(config, worker, topic="orders")
    PyrallelConsumer(config, worker, "orders")
    PyrallelConsumer(config=config, execution_config=ExecutionConfig(max_in_flight=7), worker=worker, topic="orders")


@pytest.mark.parametrize("topic", ["orders", ["orders", "bills"], ("orders",), {"orders"}, "^orders.*"])
def test_a_topic_is_a_name_several_names_or_a_pattern(topic: Any) -> None:
    PyrallelConsumer(KafkaConfig(), worker, topic)


@pytest.mark.parametrize(
    "topic", ["", [], "or ders", "^orders(", ["^orders"], None, 7, b"orders", ["orders", "orders"]]
)
def test_what_is_no_topic_is_refused(topic: Any) -> None:
    with pytest.raises(ConfigurationError, match="topic"):
        PyrallelConsumer(KafkaConfig(), worker, topic)


@pytest.mark.parametrize(
    "fitting",
    [worker, CallableWorker(), CallableWorker().handle, functools.partial(worker)],
    ids=["function", "object", "method", "partial"],
)
def test_everything_that_is_awaited_with_one_item_is_an_async_worker(fitting: Any) -> None:
    PyrallelConsumer(KafkaConfig(), fitting, "orders")


def test_a_worker_of_the_wrong_kind_is_told_the_mode_that_fits() -> None:
    with pytest.raises(WorkerMismatchError, match=r"blocking_worker.*ExecutionMode\.THREAD"):
        PyrallelConsumer(KafkaConfig(), blocking_worker, "orders")
    with pytest.raises(WorkerMismatchError, match=r"async def.*ExecutionMode\.ASYNC"):
        PyrallelConsumer(KafkaConfig(), worker, "orders", execution_config=ExecutionConfig(mode=ExecutionMode.THREAD))


@pytest.mark.parametrize(
    "nothing", [None, "worker", CallableWorker, lambda: None], ids=["none", "text", "class", "no parameter"]
)
def test_what_no_mode_can_run_is_refused(nothing: Any) -> None:
    with pytest.raises(ConfigurationError, match="worker"):
        PyrallelConsumer(KafkaConfig(), nothing, "orders")


@pytest.mark.parametrize("mode", [ExecutionMode.THREAD, ExecutionMode.PROCESS])
def test_a_plain_function_fits_threads_and_processes(mode: ExecutionMode) -> None:
    PyrallelConsumer(KafkaConfig(), blocking_worker, "orders", execution_config=ExecutionConfig(mode=mode))


@pytest.mark.parametrize(
    "wrong", [None, {}, "localhost:9092", ExecutionConfig()], ids=lambda wrong: type(wrong).__name__
)
def test_a_config_of_another_type_is_named(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"config must be of type KafkaConfig, not {type(wrong).__name__}"):
        PyrallelConsumer(wrong, worker, "orders")


def test_an_execution_config_of_another_type_is_named() -> None:
    wrong: Any = KafkaConfig()
    with pytest.raises(ConfigurationError, match="execution_config must be of type ExecutionConfig, not KafkaConfig"):
        PyrallelConsumer(KafkaConfig(), worker, "orders", execution_config=wrong)


def test_settings_changed_in_place_are_checked_again() -> None:
    config = KafkaConfig()
    config.bootstrap_servers.append("no address")
    with pytest.raises(ConfigurationError, match="bootstrap_servers"):
        PyrallelConsumer(config, worker, "orders")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_exhausted"):
        PyrallelConsumer(
            KafkaConfig(dlq_enabled=False), worker, "orders", execution_config=ExecutionConfig(on_exhausted="dlq")
        )
    with pytest.raises(ConfigurationError, match=r"group\.protocol|session"):
        PyrallelConsumer(
            KafkaConfig(librdkafka={"group.protocol": "consumer", "session.timeout.ms": 6000}), worker, "orders"
        )


def test_the_consumer_keeps_settings_of_its_own() -> None:
    config = KafkaConfig(consumer_group="a", parallel_consumer=ParallelConsumerConfig(poll_batch_size=5))
    consumer = PyrallelConsumer(config, worker, "orders")

    config.consumer_group = "b"
    config.parallel_consumer.poll_batch_size = 6

    assert consumer.config.consumer_group == "a"
    assert consumer.config.parallel_consumer.poll_batch_size == 5


def test_execution_settings_default_to_what_the_environment_says_when_the_consumer_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EXECUTION_MAX_IN_FLIGHT", "17")
    assert PyrallelConsumer(KafkaConfig(), worker, "orders").execution_config.max_in_flight == 17

    monkeypatch.setenv("EXECUTION_MAX_IN_FLIGHT", "0")
    with pytest.raises(ConfigurationError, match="max_in_flight"):
        PyrallelConsumer(KafkaConfig(), worker, "orders")


def test_an_engine_of_the_users_brings_its_own_worker() -> None:
    PyrallelConsumer(KafkaConfig(), None, "orders", engine=ThirdPartyEngine())

    with pytest.raises(ConfigurationError, match="worker=None"):
        PyrallelConsumer(KafkaConfig(), worker, "orders", engine=ThirdPartyEngine())


async def test_before_the_start_there_is_nothing_to_stop_to_wait_for_to_steer_or_to_see() -> None:
    consumer = PyrallelConsumer(KafkaConfig(), worker, "orders")

    for call in (consumer.stop, consumer.abort, consumer.wait_closed):
        with pytest.raises(StateError, match="never started"):
            await call()
    with pytest.raises(StateError, match="while it runs"):
        consumer.pause_partition(TopicPartition("orders", 0))
    with pytest.raises(StateError, match="while it runs"):
        consumer.resume_partition(TopicPartition("orders", 0))
    for look in (consumer.get_runtime_snapshot, consumer.get_metrics):
        with pytest.raises(StateError, match=r"before start\(\)"):
            look()


async def test_run_forever_inside_a_running_loop_says_what_to_do() -> None:
    consumer = PyrallelConsumer(KafkaConfig(consumer_group="a"), worker, "orders")

    with pytest.raises(StateError, match=r"await consumer\.run\(\)"):
        consumer.run_forever()


@pytest.mark.parametrize(("on_exhausted", "is_refused"), [("dlq", True), ("skip", False)])
def test_a_topic_whose_letters_can_have_no_topic_is_refused_where_it_has_letters(
    on_exhausted: str, is_refused: bool
) -> None:
    def make() -> None:
        execution = ExecutionConfig(on_exhausted=on_exhausted)  # type: ignore[arg-type]
        PyrallelConsumer(KafkaConfig(), worker, "o" * 247, execution_config=execution)

    if is_refused:
        with pytest.raises(ConfigurationError, match="would have a name of 251 characters"):
            make()
    else:
        make()
