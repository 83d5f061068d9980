"""What these tests need: Helm, and a machine on which a root folder can be made. Without them people skip; CI fails."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.deploy import image
from tests.deploy.chart import HELM, ROOT


def _missing(sentence: str) -> None:
    if os.environ.get("PYRALLEL_REQUIRE_DEPLOY"):
        pytest.fail(f"PYRALLEL_REQUIRE_DEPLOY is set, and: {sentence}")
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def helm() -> str:
    """The program: of `make .tools/helm/helm`, or one that is installed."""
    found = str(HELM) if HELM.exists() else shutil.which("helm")
    if found is None:
        _missing(f"Helm is not found: {HELM.relative_to(ROOT)} is built by make where Go is installed")
    return str(found)


@pytest.fixture(scope="session")
def root_folders() -> None:
    """Images can be made in root folders here."""
    if (why := image.why_not()) is not None:
        _missing(f"the image's steps are read, not run: {why}")
