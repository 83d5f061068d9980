"""What logs, letters and spans show of a worker's exceptions: text and type, or the type alone.

The text comes from the worker, and may contain the message's content.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyrallel_consumer.control_plane.failures.error_trace import error_trace
from pyrallel_consumer.control_plane.failures.letter import LONGEST_REASON, error_reason
from pyrallel_consumer.foreign_errors import traceback_of, type_name


@dataclass(frozen=True, slots=True)
class ErrorText:
    """``is_shown``: whether texts are shown. Nothing here raises."""

    is_shown: bool = True

    def reason(self, error: BaseException, longest: int = LONGEST_REASON) -> str:
        """Type and text on one line, or the type."""
        return error_reason(error, longest) if self.is_shown else type_name(error)

    def trace(self, error: BaseException) -> str:
        """Where it was raised, with its causes; only types and places if texts are not shown."""
        return traceback_of(error) if self.is_shown else error_trace(error)
