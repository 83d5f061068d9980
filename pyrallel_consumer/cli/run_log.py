"""How ``run`` logs: lines for people, or one JSON object per line for machines. To standard error, both of them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
# What every record has; the rest of it is what the log call gave as `extra`.
_OF_ALL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """``time``, ``level``, ``logger``, ``message``, what was given as ``extra``, and ``error`` with its traceback.

    A field of ``extra`` that has one of these names is written with an underscore behind it. What JSON cannot say is
    written as its ``str``.
    """

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        for name, value in vars(record).items():
            if name not in _OF_ALL:
                told[f"{name}_" if name in told else name] = value
        try:
            return json.dumps(told, default=str, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError):  # a key that is no text, a number that is none, an object that holds itself
            return json.dumps({name: str(value) for name, value in told.items()}, ensure_ascii=False)


def set_up_logging(log_format: str, level: str) -> None:
    """Have everything that is logged in this process written to standard error; worker processes send theirs here."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(TEXT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
