"""Planting bugs into the real classes, each by one replaced method, and the list of all that are planted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]
PLANTED: dict[str, Plant] = {}


def planted(plant: Plant) -> Plant:
    """Add to the list, under the function's name: a sentence that says what is wrong."""
    PLANTED[plant.__name__] = plant
    return plant


def around(patch: pytest.MonkeyPatch, owner: type, name: str, replacement: Callable[..., Any]) -> None:
    """Replace method ``name``; ``replacement`` gets the original before the method's own arguments."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda self, *args, **kwargs: replacement(original, self, *args, **kwargs))
