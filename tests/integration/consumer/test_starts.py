"""Starts of a consumer that fail, are stopped or are cancelled: what is wrong is named, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pyrallel_consumer import (
    AuthenticationError,
    BrokerUnreachableError,
    ConfigurationError,
    EmbeddedBroker,
    PyrallelConsumer,
    StateError,
    UnknownTopicError,
)
from tests.integration.conftest import NewTopic
from tests.integration.consuming import ignore, kafka, new_group, until
from tests.third_party_engine import ThirdPartyEngine

pytestmark = pytest.mark.usefixtures("no_thread_is_left", "gc_threshold_is_put_back")


@pytest.fixture
def nowhere() -> str:
    """The address of a broker that is gone."""
    with EmbeddedBroker() as broker:
        return broker.bootstrap_servers


# Starts that fail


async def test_an_unreachable_broker_fails_the_start_and_everything_after_it_with_the_same_error(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")

    with pytest.raises(BrokerUnreachableError, match=nowhere) as raised:
        await consumer.start()

    for call in (consumer.stop, consumer.wait_closed):
        with pytest.raises(BrokerUnreachableError) as again:
            await call()
        assert again.value is raised.value
    assert consumer.get_runtime_snapshot().state == "closed"


async def test_an_unknown_topic_is_named(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(UnknownTopicError, match="'no-such-orders' does not exist"):
        async with PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), ignore, "no-such-orders"):
            pytest.fail("it did not start")


async def test_credentials_for_a_listener_that_knows_none_are_refused_without_a_word_of_the_password(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic
) -> None:
    config = kafka(
        embedded_broker.bootstrap_servers,
        new_group(),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanisms="SCRAM-SHA-256",
        sasl_username="somebody",
        sasl_password="guessed",
    )
    with pytest.raises(AuthenticationError) as raised:
        await PyrallelConsumer(config, ignore, new_topic(1)).start()

    assert "guessed" not in str(raised.value)


async def test_a_setting_that_the_client_does_not_know_is_named(embedded_broker: EmbeddedBroker) -> None:
    config = kafka(embedded_broker.bootstrap_servers, new_group(), librdkafka={"fetch.quickly": True})
    with pytest.raises(ConfigurationError, match=r"fetch\.quickly"):
        await PyrallelConsumer(config, ignore, "orders").start()


async def test_stopping_while_it_starts_ends_the_start_at_once(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")
    starting = asyncio.create_task(consumer.start())
    await until(lambda: "pyrallel-poller" in {thread.name for thread in threading.enumerate()})

    await consumer.stop()

    with pytest.raises(StateError, match="stopped while it started"):
        await starting


async def test_a_stop_that_comes_before_anything_was_opened_ends_the_start(nowhere: str) -> None:
    """Stops during the building of the parts, as a signal does: their task has not taken its first step."""
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")
    starting = asyncio.create_task(consumer.start())
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await consumer.stop()

        with pytest.raises(StateError, match="stopped while it started"):
            await starting


async def test_a_start_that_is_cancelled_before_anything_was_opened_ends(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")
    starting = asyncio.create_task(consumer.start())
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    await consumer.wait_closed()


def test_a_loop_that_ends_before_anything_was_opened_is_not_held_up(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")

    async def program() -> asyncio.Task[None]:
        starting = asyncio.create_task(consumer.start())
        await asyncio.sleep(0)
        return starting

    assert asyncio.run(asyncio.wait_for(program(), 10)).cancelled()


async def test_a_start_that_is_cancelled_leaves_nothing_behind(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.start(), 0.1)

    await consumer.wait_closed()
    assert consumer.get_runtime_snapshot().state == "closed"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_engine_that_cannot_start_fails_the_start_before_anything_is_connected(nowhere: str) -> None:
    engine = ThirdPartyEngine()
    engine.start_error = ConfigurationError("no such accelerator")

    with pytest.raises(ConfigurationError, match="no such accelerator"):
        await PyrallelConsumer(kafka(nowhere, new_group()), None, "orders", engine=engine).start()
