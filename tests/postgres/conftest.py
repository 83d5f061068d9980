"""One PostgreSQL and one embedded broker for each test process.

Without PostgreSQL the tests are skipped with the reason; with PYRALLEL_REQUIRE_POSTGRES set they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.conftest import embedded_broker as embedded_broker  # noqa: PLC0414 -- fixtures of this folder too
from tests.integration.conftest import new_topic as new_topic  # noqa: PLC0414 -- as above
from tests.integration.conftest import produce as produce  # noqa: PLC0414 -- as above
from tests.postgres.postgres_node import PostgresNode, PostgresUnavailableError


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresNode]:
    node = PostgresNode()
    try:
        node.__enter__()
    except PostgresUnavailableError as error:
        if os.environ.get("PYRALLEL_REQUIRE_POSTGRES"):
            pytest.fail(f"PYRALLEL_REQUIRE_POSTGRES is set, and: {error}")
        pytest.skip(str(error))
    try:
        yield node
    finally:
        node.__exit__(None, None, None)
