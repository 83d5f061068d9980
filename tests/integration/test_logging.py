"""The log while many things fail: places as fields, and no content of messages or secrets."""

from __future__ import annotations

import ast
import asyncio
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrallel_consumer
from pyrallel_consumer import EmbeddedBroker, MessageExhaustedError, MetricsConfig, PyrallelConsumer, WorkItem
from tests.integration.conftest import producing_to
from tests.integration.consuming import execution, kafka, new_group, until

PRIVATE = "no-log-may-hold-this"
PLACE = re.compile(r"orders(?:\[(\d+)\]|-(\d+)-\d+)")
NEVER_LOGGED = {"payload", "value", "headers", "key", "message", "get_secret_value", "configuration", "_configuration"}
LOGGERS = {"logger", "LOGGER", "CLIENT_LOGGER", "_throttle", "throttle", "_logger"}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, to inject faults into."""
    with EmbeddedBroker({"orders": 2, "orders.dlq": 1}) as broker:
        yield broker


def of_the_library(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("pyrallel_consumer")]


def said(record: logging.LogRecord) -> str:
    """Everything that a formatter could write of a record."""
    return logging.Formatter().format(record) + repr(record.__dict__)


async def test_records_say_where_as_fields_and_hold_no_payload_key_header_or_secret(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pyrallel_consumer")
    producing_to(broker.bootstrap_servers)(
        "orders",
        40,
        key_of=lambda i: f"{PRIVATE}-{i % 4}".encode(),
        value_of=lambda i: f"{PRIVATE}-{i}".encode(),
        partitions=2,
    )
    hung = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if item.offset == 3:
            await hung.wait()
        if item.offset % 5 == 0:
            raise ValueError("invalid data")

    config = kafka(
        broker.bootstrap_servers,
        new_group(),
        metrics=MetricsConfig(enabled=True, port=0),
        parallel={"blocking_warn_seconds": 0.05},
        ssl_key_password=PRIVATE,
        librdkafka={"message.timeout.ms": 1000, "ssl.keystore.password": PRIVATE},
    )
    broker.fail_requests("produce", ["TOPIC_AUTHORIZATION_FAILED"] * 3)
    broker.fail_requests("offset_commit", ["REBALANCE_IN_PROGRESS"] * 2)
    quick = execution(max_retries=2, retry_backoff_ms=1, shutdown_drain_timeout_ms=50)
    async with PyrallelConsumer(config, worker, "orders", execution_config=quick) as consumer:
        await until(lambda: consumer.get_metrics()["commit_failures"], consumer.get_metrics)
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.failures)
        await until(lambda: "has kept the commit back" in caplog.text)
        hung.set()

    records = of_the_library(caplog)
    assert {"consumer", "dead_letters", "exhausted", "ingress", "observability"} <= {
        record.name.rpartition(".")[2] if "." in record.name else "consumer" for record in records
    }
    assert [record for record in records if PRIVATE in said(record)] == []
    several = ("were cut off", "assigned ", "released ")
    of_one = [record for record in records if not any(words in record.getMessage() for words in several)]
    placed = [(record, found) for record in of_one if (found := PLACE.search(record.getMessage()))]
    assert len(placed) >= 4
    for record, found in placed:
        partition = int(found[1] or found[2])
        assert (record.__dict__.get("pyrallel_topic"), record.__dict__.get("pyrallel_partition")) == (
            "orders",
            partition,
        ), said(record)
        is_start = "commit of" in record.getMessage()  # committed before there is an epoch
        assert isinstance(record.__dict__.get("pyrallel_epoch", 0 if is_start else None), int), said(record)
    blocking = [record for record, _ in placed if "has kept the commit back" in record.getMessage()]
    assert {record.__dict__["pyrallel_offset"] for record in blocking} & {
        0,
        3,
    }  # a letter that is refused, a worker that hangs


async def test_the_message_that_stops_the_consumer_is_named_in_the_record(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    producing_to(broker.bootstrap_servers)("orders", 1, partitions=1)

    async def worker(item: WorkItem) -> None:
        raise ValueError("invalid data")

    config = kafka(broker.bootstrap_servers, new_group())
    with pytest.raises(MessageExhaustedError) as raised:
        async with PyrallelConsumer(
            config, worker, "orders", execution_config=execution(max_retries=1, on_exhausted="stop")
        ) as consumer:
            await consumer.wait_closed()
    [record] = [record for record in of_the_library(caplog) if "the consumer fails" in record.getMessage()]
    place = {"topic": "orders", "partition": 0, "offset": 0}
    assert {f"pyrallel_{name}": value for name, value in place.items()}.items() <= record.__dict__.items()
    assert place.items() <= raised.value.place.items()


class RaisingFilter(logging.Filter):
    """A filter that needs values which exist only within a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise LookupError("request_id")


class RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ConnectionError("the log server is away")


def clashing_factory(*args: Any, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **more)
    for name in ("topic", "partition", "offset", "epoch", "code", "attempt"):
        setattr(record, name, "-")
    return record


def raising_factory(*args: Any, **more: Any) -> logging.LogRecord:
    if args[0] and args[0].startswith("pyrallel_consumer"):
        raise KeyError("request")
    return logging.LogRecord(*args, **more)


@pytest.fixture(params=["clashing factory", "raising factory", "raising filter", "raising handler"])
def users_logging(request: pytest.FixtureRequest) -> Iterator[str]:
    """A program's own logging setup that raises for the library's records."""
    logger, factory = logging.getLogger("pyrallel_consumer"), logging.getLogRecordFactory()
    handler = RaisingHandler() if request.param == "raising handler" else logging.StreamHandler(io.StringIO())
    if request.param == "raising filter":
        handler.addFilter(RaisingFilter())
    if "factory" in request.param:
        logging.setLogRecordFactory(clashing_factory if "clashing" in request.param else raising_factory)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield request.param
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize("mode", ["async", "process"])
async def test_no_logging_of_the_users_ends_the_consumer(
    broker: EmbeddedBroker, users_logging: str, mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    producing_to(broker.bootstrap_servers)("orders", 20, partitions=2)
    broker.fail_requests("produce", ["TOPIC_AUTHORIZATION_FAILED"] * 2)
    broker.fail_requests("offset_commit", ["REBALANCE_IN_PROGRESS"] * 2)
    worker: Any = async_failing_worker if mode == "async" else failing_worker

    once = execution(mode=mode, max_retries=1, worker_pool_size=1)
    config = kafka(broker.bootstrap_servers, new_group())
    async with PyrallelConsumer(config, worker, "orders", execution_config=once) as consumer:
        await until(lambda: sum(each.committed_offset for each in consumer.get_runtime_snapshot().partitions) == 20)

    said = capfd.readouterr().err
    assert ("pyrallel_consumer could not log" in said) is (users_logging != "clashing factory")


def failing_worker(item: WorkItem) -> None:
    logging.getLogger("shop").setLevel(logging.INFO)
    if item.offset % 5 == 0:
        raise ValueError("invalid data")
    logging.getLogger("shop").info("works on %d", item.offset)


async def async_failing_worker(item: WorkItem) -> None:
    if item.offset % 5 == 0:
        raise ValueError("invalid data")


def test_only_one_module_makes_loggers_that_log() -> None:
    root = Path(pyrallel_consumer.__file__).parent
    making = {
        path.name
        for path in root.rglob("*.py")
        if re.search(r"^\w+(: Final)? = logging\.getLogger\(", path.read_text(), re.MULTILINE)
    }
    assert making == set()


def test_no_call_of_a_logger_is_given_what_messages_or_secrets_hold() -> None:
    root = Path(pyrallel_consumer.__file__).parent
    seen = 0
    for path in sorted(root.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(call, ast.Call) and _is_logging(call)):
                continue
            seen += 1
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            names = {
                node.attr if isinstance(node, ast.Attribute) else node.id
                for argument in given
                for node in ast.walk(argument)
                if isinstance(node, ast.Attribute | ast.Name)
            }
            assert not names & NEVER_LOGGED - _allowed(path), f"{path.name}:{call.lineno}"
    assert seen >= 30


def _is_logging(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    owner = call.func.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return name in LOGGERS and call.func.attr in {"debug", "info", "warning", "error", "exception", "critical", "log"}


def _allowed(path: Path) -> set[str]:
    """The throttle itself forwards a text under this name."""
    return {"message"} if path.name in {"log_throttle.py", "log.py"} else set()
