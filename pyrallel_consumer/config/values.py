"""What several settings share: limits, units, and how values are spelled."""

from __future__ import annotations

from typing import Any

HIGHEST_PORT = 65_535


def lowered(value: Any) -> Any:
    """``value`` without spaces around it and in small letters, where it is text; else as it is."""
    return value.strip().lower() if isinstance(value, str) else value
