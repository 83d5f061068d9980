"""What tests of a consumer's life put back."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def gc_threshold_is_put_back() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    assert gc.get_threshold() == before
