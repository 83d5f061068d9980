"""What several settings share: limits, units, and how values are spelled."""

from __future__ import annotations

import re
from typing import Any

HIGHEST_PORT = 65_535
_FUNCTION_NAME = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def lowered(value: Any) -> Any:
    """``value`` without spaces around it and in small letters, where it is text; else as it is."""
    return value.strip().lower() if isinstance(value, str) else value


def named_function(value: Any) -> Any:
    """``value``, unless it is text that is not a function's place. Raises ValueError then."""
    if isinstance(value, str) and not _FUNCTION_NAME.match(value):
        raise ValueError(f"{value!r} is no function's place; write package.module:function")
    return value
