"""A group for each test, and a broker of its own for tests that inject faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.poller.group_offsets import GROUPS


@pytest.fixture
def group() -> str:
    return next(GROUPS)


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """A broker of its own, for tests that inject faults."""
    with EmbeddedBroker({"orders": 1}) as broker:
        yield broker
