"""One registry for the whole run, beside the embedded broker.

Where none can be had the tests are skipped with the reason; with PYRALLEL_REQUIRE_REGISTRY set they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.conftest import embedded_broker as embedded_broker  # noqa: PLC0414 -- fixtures of this folder too
from tests.integration.conftest import new_topic as new_topic  # noqa: PLC0414 -- as above
from tests.integration.conftest import produce as produce  # noqa: PLC0414 -- as above
from tests.kafka_jars import KafkaUnavailableError
from tests.registry.registry_node import RegistryNode


@pytest.fixture(scope="session")
def registry() -> Iterator[RegistryNode]:
    try:
        with RegistryNode() as node:
            yield node
    except KafkaUnavailableError as error:
        if os.environ.get("PYRALLEL_REQUIRE_REGISTRY"):
            pytest.fail(f"PYRALLEL_REQUIRE_REGISTRY is set, and: {error}")
        pytest.skip(str(error))
