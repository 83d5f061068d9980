"""A broker of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrallel_consumer import EmbeddedBroker


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, to inject faults into."""
    with EmbeddedBroker({"orders": 2, "orders.dlq": 1}) as broker:
        yield broker
