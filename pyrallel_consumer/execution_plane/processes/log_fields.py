"""A log record of a worker, on its way to the engine: its text is made where its arguments are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging


def log_fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    """The record's fields with the finished message and traceback, without arguments and exception.

    The message is the bare format where the user's arguments cannot be formatted. Extras are left as they are.
    """
    fields = dict(record.__dict__)
    try:
        fields["msg"] = record.getMessage()
        if record.exc_info:
            fields["exc_text"] = formatter.formatException(record.exc_info)
    except Exception:  # noqa: BLE001 -- arguments of the user's that cannot be formatted
        fields["msg"] = str(record.msg)
    fields["args"] = fields["exc_info"] = None
    return fields
