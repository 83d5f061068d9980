"""No setting reaches these tests from the environment or from a file of the folder that they run in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith(("KAFKA_", "METRICS_", "PARALLEL_CONSUMER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
