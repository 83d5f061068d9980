"""``run --check`` of exactly once: whether the broker lets this consumer run transactions.

The check uses an id of its own behind the consumer's prefix, so that no running member is fenced.
"""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final
from uuid import uuid4

from pyrallel_consumer.cli.check.table import Finding, Verdict
from pyrallel_consumer.config import KafkaConfig, OutputConfig
from pyrallel_consumer.errors import ConfigurationError, PyrallelConsumerError
from pyrallel_consumer.ingress.client.client_settings import transaction_configuration
from pyrallel_consumer.ingress.producing.transactions import Transactions

SUBJECT: Final = "transactions"
PATIENCE_SECONDS: Final = 15.0


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
