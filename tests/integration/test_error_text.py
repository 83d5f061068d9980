"""With ``show_error_text`` off, only the types and places of a worker's errors are shown."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, MessageExhaustedError, PyrallelConsumer, WorkItem
from tests.integration.conftest import producing_to
from tests.integration.consuming import MODES_OF_THIS_MACHINE, execution, kafka, new_group, until
from tests.letter_box import read_letters

SECRET = "the card number"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"orders": 1, "orders.dlq": 1}) as broker:
        yield broker


def worker(item: WorkItem) -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"{SECRET} is not valid") from error


async def async_worker(item: WorkItem) -> None:
    worker(item)


@pytest.mark.parametrize("is_shown", [False, True])
@pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
async def test_logs_and_letters_have_the_text_only_where_it_is_shown(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, mode: ExecutionMode, is_shown: bool
) -> None:
    caplog.set_level(logging.DEBUG, "pyrallel_consumer")
    producing_to(broker.bootstrap_servers)("orders", 1, partitions=1)
    settings = execution(mode=mode, max_retries=2, worker_pool_size=1, show_error_text=is_shown)
    given = async_worker if mode is ExecutionMode.ASYNC else worker

    async with PyrallelConsumer(
        kafka(broker.bootstrap_servers, new_group()), given, "orders", execution_config=settings
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.sent)

    said = [logging.Formatter().format(record) + repr(record.__dict__) for record in caplog.records]
    [letter] = read_letters(broker.bootstrap_servers, "orders.dlq")
    assert any(SECRET in each for each in said) is is_shown
    assert (SECRET in repr(letter.headers)) is is_shown
    assert letter.ours["x-error-reason"].partition(":")[0] == "ValueError"
    assert any("ValueError" in each and "in worker" in each for each in said)


@pytest.mark.parametrize("is_shown", [False, True])
async def test_the_error_that_stops_the_consumer_has_the_text_only_where_it_is_shown(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, is_shown: bool
) -> None:
    producing_to(broker.bootstrap_servers)("orders", 1, partitions=1)
    settings = execution(max_retries=1, on_exhausted="stop", show_error_text=is_shown)

    with pytest.raises(MessageExhaustedError, match=r"orders-0-0 failed .* ValueError") as raised:
        async with PyrallelConsumer(
            kafka(broker.bootstrap_servers, new_group()), async_worker, "orders", execution_config=settings
        ) as consumer:
            await consumer.wait_closed()

    assert (SECRET in "".join(traceback.format_exception(raised.value))) is is_shown
    assert (SECRET in caplog.text) is is_shown
