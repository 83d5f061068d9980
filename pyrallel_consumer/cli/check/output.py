"""``run --check`` of records out: whether their topics may be written, and whether the broker allows transactions.

The broker is asked with an id of its own behind the consumer's prefix, so that no member that runs is fenced off.
"""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final
from uuid import uuid4

from pyrallel_consumer.cli.check.table import Finding, Verdict
from pyrallel_consumer.config import KafkaConfig, OutputConfig
from pyrallel_consumer.errors import BrokerError, ConfigurationError, PyrallelConsumerError
from pyrallel_consumer.ingress.client.client_settings import producer_configuration, transaction_configuration
from pyrallel_consumer.ingress.producing.output_topics import OutputTopics
from pyrallel_consumer.ingress.producing.transactions import Transactions

SUBJECT: Final = "transactions"
TOPICS: Final = "output"
PATIENCE_SECONDS: Final = 15.0


def output_checked(kafka: KafkaConfig, output: OutputConfig | None) -> list[Finding]:
    """The findings about the records that workers return; none if they return none."""
    return [] if output is None else [*topics_checked(kafka, output), *transactions_checked(kafka, output)]


def topics_checked(kafka: KafkaConfig, output: OutputConfig) -> list[Finding]:
    """The findings about ``OutputConfig.topics``."""
    if not output.topics:
        said = "where workers write is not known: OutputConfig.topics (environment: OUTPUT_TOPICS) has it checked"
        return [Finding(TOPICS, Verdict.OK, said)]
    try:
        configuration = producer_configuration(kafka, output)
        problems = OutputTopics(configuration, output.topics, time.monotonic).problems(PATIENCE_SECONDS)
    except ConfigurationError as error:
        return [Finding(TOPICS, Verdict.WRONG, str(error))]
    except BrokerError as error:
        return [Finding(TOPICS, Verdict.FAILED, str(error))]
    if problems is None:
        return [Finding(TOPICS, Verdict.FAILED, f"no broker told of the output topics within {PATIENCE_SECONDS:g} s")]
    if not problems:
        return [Finding(TOPICS, Verdict.OK, f"records may be written to {', '.join(output.topics)}")]
    verdicts = {True: Verdict.FAILED, False: Verdict.WARNING}
    return [Finding(TOPICS, verdicts[problem.is_certain], problem.sentence) for problem in problems]


def transactions_checked(kafka: KafkaConfig, output: OutputConfig | None) -> list[Finding]:
    """Nothing where records are not written exactly once."""
    if output is None or not output.is_exactly_once:
        return []
    try:
        configuration = transaction_configuration(kafka, output)
    except ConfigurationError as error:
        return [Finding(SUBJECT, Verdict.WRONG, str(error))]
    prefix = output.transactional_id_prefix or kafka.consumer_group
    configuration["transactional.id"] = f"{prefix}-check-{uuid4().hex}"
    transactions = Transactions(configuration, kafka.consumer_group, _ignore)
    try:
        transactions.start().result(PATIENCE_SECONDS)
    except FutureTimeoutError:
        said = f"no transactional id within {PATIENCE_SECONDS:g} s: is the transaction coordinator there?"
        return [Finding(SUBJECT, Verdict.FAILED, said)]
    except ConfigurationError as error:
        return [Finding(SUBJECT, Verdict.WRONG, str(error))]
    except PyrallelConsumerError as error:
        return [Finding(SUBJECT, Verdict.FAILED, str(error))]
    finally:
        transactions.abandon()
    return [Finding(SUBJECT, Verdict.OK, f"the broker takes transactional ids that begin with {prefix!r}")]


def _ignore(_: object) -> None:
    pass
