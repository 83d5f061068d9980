"""The topics to which workers write, and the transactional id, are checked at the start and by ``run --check``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer import (
    BrokerError,
    ConfigurationError,
    KafkaConfig,
    OutputConfig,
    PyrallelConsumer,
    Record,
    WorkItem,
)
from pyrallel_consumer.cli.check import output as check_of_output
from pyrallel_consumer.cli.check.output import output_checked
from pyrallel_consumer.cli.check.table import Finding, Verdict
from pyrallel_consumer.ingress.producing import output_topics
from tests.kafka.deadline import PATIENCE_SECONDS
from tests.kafka.rights import Rights
from tests.kafka.test_security import Secured, secured  # noqa: F401 -- the broker with access rights
from tests.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.xdist_group("security")

Settings = Callable[..., KafkaConfig]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may answer late, and then the start goes on."""
    monkeypatch.setattr(output_topics, "SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(check_of_output, "PATIENCE_SECONDS", PATIENCE_SECONDS)


async def started(config: KafkaConfig, topic: str, output: OutputConfig) -> None:
    async def worker(item: WorkItem) -> Record:
        return Record(output.topics[0], item.payload)

    async with PyrallelConsumer(config, worker, topic, output=output):
        pass


def checked(config: KafkaConfig, output: OutputConfig) -> list[tuple[str, Verdict]]:
    return [(finding.subject, finding.verdict) for finding in output_checked(config, output)]


@pytest.mark.usefixtures("patient")
def test_topics_that_are_there_and_may_be_written_pass_the_check(kafka: KafkaCluster, settings: Settings) -> None:
    output = OutputConfig(topics=[kafka.new_topic(), kafka.new_topic()])

    [finding] = output_checked(settings(kafka.new_group()), output)
    assert finding.verdict is Verdict.OK
    assert all(topic in finding.text for topic in output.topics)


@pytest.mark.usefixtures("patient")
async def test_a_topic_that_is_not_there_is_named_by_the_check_and_at_the_start(
    kafka: KafkaCluster, settings: Settings
) -> None:
    config, source = settings(kafka.new_group()), kafka.new_topic()
    for delivery in ("at_least_once", "exactly_once"):
        output = OutputConfig(topics=f"{source}, no-such-topic", delivery=delivery)
        findings: list[Finding] = output_checked(config, output)
        assert findings[0].verdict is Verdict.FAILED
        assert "'no-such-topic' does not exist" in findings[0].text
        with pytest.raises(ConfigurationError, match=r"'no-such-topic' does not exist.*OUTPUT_TOPICS"):
            await started(config, source, output)


@pytest.mark.usefixtures("patient")
async def test_rights_that_are_missing_are_named_by_the_check_and_at_the_start(secured: Secured) -> None:  # noqa: F811
    kafka, rights = secured.kafka, Rights(secured.kafka.bootstrap_servers)
    source, target, group = kafka.new_topic(), kafka.new_topic(), kafka.new_group()
    prefix = kafka.new_name("id")
    config = secured.config("PLAIN", group, sasl_username="bob")
    values: dict[str, Any] = {"topics": [target], "delivery": "exactly_once", "transactional_id_prefix": prefix}
    output = OutputConfig(**values)
    rights.topic(target, "User:bob", "READ")
    rights.transactional_id(prefix, "User:nobody", "WRITE")

    assert checked(config, output) == [("output", Verdict.FAILED), ("transactions", Verdict.FAILED)]
    with pytest.raises(ConfigurationError, match=f"may not write to the output topic '{target}': grant WRITE"):
        await started(config, source, output)

    rights.topic(target, "User:bob", "WRITE")
    assert checked(config, output) == [("output", Verdict.OK), ("transactions", Verdict.FAILED)]
    with pytest.raises(BrokerError, match="needs WRITE and DESCRIBE on that id"):
        await started(config, source, output)

    rights.transactional_id(prefix, "User:bob", "WRITE")
    assert checked(config, output) == [("output", Verdict.OK), ("transactions", Verdict.OK)]
    await started(config, source, output)


def test_a_broker_that_is_away_fails_the_check(settings: Settings) -> None:
    config = settings("group", bootstrap_servers="127.0.0.1:1")

    [finding] = output_checked(config, OutputConfig(topics="anything"))
    assert finding.verdict is Verdict.FAILED
