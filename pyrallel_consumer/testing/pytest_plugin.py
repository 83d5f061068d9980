"""Fixtures for pytest, found by its entry point. Nothing of the library is loaded before a test asks for one.

``pyrallel_kit`` makes kits: ``kit = pyrallel_kit(worker, topic="orders")``. ``trial_kafka`` is a Kafka with topics and
a group that no other test has; its broker is started once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyrallel_consumer import EmbeddedBroker
    from pyrallel_consumer.testing import ConsumerKit, TrialKafka


@pytest.fixture
def pyrallel_kit() -> Iterator[Callable[..., ConsumerKit]]:
    """Makes a ``ConsumerKit`` with these arguments. Kits that ``run`` has started are closed when the test is over."""
    from pyrallel_consumer.testing import ConsumerKit  # noqa: PLC0415 -- only who asks for a kit loads the library

    kits: list[ConsumerKit] = []

    def kit_of(*arguments: Any, **options: Any) -> ConsumerKit:
        kits.append(ConsumerKit(*arguments, **options))
        return kits[-1]

    yield kit_of
    for kit in kits:
        kit.close()


@pytest.fixture(scope="session")
def pyrallel_trial_broker() -> Iterator[EmbeddedBroker | None]:
    """The broker of all ``trial_kafka``; None where ``KAFKA_BOOTSTRAP_SERVERS`` names one."""
    from pyrallel_consumer import EmbeddedBroker  # noqa: PLC0415 -- as above

    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield None
        return
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def trial_kafka(pyrallel_trial_broker: EmbeddedBroker | None) -> Iterator[TrialKafka]:
    """An open ``TrialKafka``: the Kafka of ``KAFKA_BOOTSTRAP_SERVERS`` if that is set, else an embedded broker."""
    from pyrallel_consumer.testing import TrialKafka  # noqa: PLC0415 -- as above

    with TrialKafka(broker=pyrallel_trial_broker) as kafka:
        yield kafka
