"""The forms of the async engine that tests run with."""

from __future__ import annotations

import pytest

from pyrallel_consumer.execution_plane.async_engine import PlainEngine
from tests.unit.execution_plane.loop_runs import FORMS


@pytest.fixture(params=FORMS, ids=lambda form: form.__name__)
def form(request: pytest.FixtureRequest) -> type[PlainEngine]:
    chosen: type[PlainEngine] = request.param
    return chosen
