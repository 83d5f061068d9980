"""How the library logs: with prefixed fields, and never at the cost of delivery.

Filters, handlers and the record factory belong to the user. Their exceptions would come out of our calls, in the event
loop and in the client's callbacks, and end the consumer. So they are caught here and written to standard error, as
``logging`` itself does for its handlers. A factory that sets ``record.topic`` would clash with a field of that name, so
our fields begin with ``FIELD_PREFIX``.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

FIELD_PREFIX: Final = "pyrallel_"
_OUR_FRAMES: Final = 3
MOST_NAMED: Final = 20
"""How many partitions or messages one line names."""


class Log:
    """A logger by its name. ``extra`` are fields without the prefix; nothing here raises an Exception."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *args: object) -> None:
        self._write(logging.DEBUG, message, args)

    def info(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        self._write(logging.INFO, message, args, extra)

    def warning(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        self._write(logging.WARNING, message, args, extra)

    def error(
        self,
        message: str,
        *args: object,
        exc_info: BaseException | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self._write(logging.ERROR, message, args, extra, exc_info)

    def exception(self, message: str, *args: object) -> None:
        """Like ``error``, with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, message, args, None, sys.exception())

    def log(self, level: int, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        self._write(level, message, args, extra)

    def _write(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | None = None,
    ) -> None:
        try:
            fields = {f"{FIELD_PREFIX}{name}": value for name, value in (extra or {}).items()}
            self._logger.log(level, message, *args, exc_info=exc_info, extra=fields, stacklevel=_OUR_FRAMES)
        except Exception:  # noqa: BLE001 -- the user's factory, filters and handlers
            tell_of_failure(message)


def relay(fields: Mapping[str, Any]) -> None:
    """Log a record of another process, with these attributes; raises no Exception."""
    try:
        record = logging.makeLogRecord(dict(fields))
        target = logging.getLogger(record.name)
        if target.isEnabledFor(record.levelno):
            target.handle(record)
    except Exception:  # noqa: BLE001 -- as above
        tell_of_failure(str(fields.get("msg")))


def tell_of_failure(message: str) -> None:
    """Write to standard error that ``message`` was not logged, and why; unless ``logging.raiseExceptions`` is off."""
    if logging.raiseExceptions and sys.stderr is not None:
        with suppress(Exception):  # Both the exception and the stream may be foreign code.
            sys.stderr.write(f"pyrallel_consumer could not log {message!r}:\n{traceback.format_exc()}")


def listed(names: Sequence[str]) -> str:
    """The names for one line of the log; of many only the first ones, and the number of the others."""
    more = len(names) - MOST_NAMED
    first = ", ".join(names[:MOST_NAMED])
    return f"{first}, and {more:,} more" if more > 0 else first
