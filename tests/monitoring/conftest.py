"""Prometheus' programs, from Debian's package; where they are missing these tests are skipped, and fail in CI."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def prometheus_programs() -> None:
    """``prometheus`` and ``promtool`` are on the path."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if not missing:
        return
    sentence = (
        f"{' and '.join(missing)} not found: the monitoring stack is not tried (Debian: apt-get install prometheus)"
    )
    if os.environ.get("PYRALLEL_REQUIRE_PROMETHEUS"):
        pytest.fail(f"PYRALLEL_REQUIRE_PROMETHEUS is set, and: {sentence}")
    pytest.skip(sentence)
