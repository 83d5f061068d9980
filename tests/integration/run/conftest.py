"""A folder with workers, and ``run`` started in it on the embedded broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrallel_consumer import EmbeddedBroker
from tests.integration.run.runs import Runs, quick_environment
from tests.integration.run.shop import WORKERS


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the workers in ``app.py``: where each command here is started."""
    (tmp_path / "app.py").write_text(WORKERS)
    return tmp_path


@pytest.fixture
def environment(embedded_broker: EmbeddedBroker) -> dict[str, str]:
    return quick_environment(embedded_broker)


@pytest.fixture
def runs(app: Path, environment: dict[str, str]) -> Runs:
    return Runs(app, environment)
