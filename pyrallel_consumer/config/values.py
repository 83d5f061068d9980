"""Shared by several settings: limits, units, and the spelling of values."""

from __future__ import annotations

import re
from typing import Any

HIGHEST_PORT = 65_535
_FUNCTION_NAME = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def lowered(value: Any) -> Any:
    """Text without surrounding spaces and in small letters; any other value as it is."""
    return value.strip().lower() if isinstance(value, str) else value


def named_function(value: Any) -> Any:
    """``value``. Raises ValueError if it is text that does not name a function."""
    if isinstance(value, str) and not _FUNCTION_NAME.match(value):
        raise ValueError(f"{value!r} is no function's place; write package.module:function")
    return value
