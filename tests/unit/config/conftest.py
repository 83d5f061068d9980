"""No setting reaches these tests from the environment or from a file of the folder that they run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.settings_table import clear_environment


@pytest.fixture(autouse=True)
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory and no setting in the environment; returns where a ``.env`` would be read."""
    clear_environment(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"
