"""The example of the documents, on the cluster of these tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("cluster")


async def test_the_example_reads_digits_in_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ray_digits = import_module("examples.ray_digits")

    assert await ray_digits.main(tmp_path / "read.txt") == 0
    assert "OK: every digit was read once, in order for each customer" in capsys.readouterr().out
