"""A broker of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pyrallel_consumer import EmbeddedBroker
from tests.integration.dlq.letters import PARTITIONS


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    with EmbeddedBroker({"orders": PARTITIONS, "orders.dlq": 2, "returns": 1, "returns.dlq": 1}) as broker:
        yield broker
