"""How ``run`` logs to standard error: lines for humans, or one JSON object per line for machines."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import sys
import tomllib
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pyrallel_consumer.cli.run.settings import RunSettings
from pyrallel_consumer.cli.terminal import escaped, printable_lines
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.log import FIELD_PREFIX, Log

logger = Log("pyrallel_consumer.run")

TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
TEXT_OF_MEMBER: Final = "%(asctime)s %(levelname)-7s [%(member)s] %(name)s: %(message)s"
MEMBER: Final = "_PYRALLEL_MEMBER"
"""The variable that tells a run of ``--consumers`` its number: its records have it as ``member``."""
# Attributes of every record; all other attributes came as `extra` of the log call.
_OF_ALL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """``time``, ``level``, ``logger``, ``message``, the fields of ``extra``, and ``error``.

    ``error`` has the traceback, if the log call gave one.

    A field of ``extra`` that has one of these names is written with an underscore behind it. Fields of the library's
    own records are written without ``FIELD_PREFIX`` if that name is free. A value that JSON does not support is written
    as its ``str``.
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
        elif (error := _error_in(record.args)) is not None:
            told["error"] = f"{type(error).__name__}: {error}"
        for name, value in vars(record).items():
            if name not in _OF_ALL:
                short = name.removeprefix(FIELD_PREFIX)
                if short in told or hasattr(record, short):
                    short = name
                told[f"{short}_" if short in told else short] = value
        try:
            return escaped(json.dumps(told, default=str, ensure_ascii=False, allow_nan=False))
        except (TypeError, ValueError):  # a key that is not text, NaN or infinity, an object that contains itself
            return escaped(json.dumps({name: str(value) for name, value in told.items()}, ensure_ascii=False))


class TextFormatter(logging.Formatter):
    """Lines for humans. Control characters are escaped, because an error's text may come from foreign code."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _error_in(args: object) -> BaseException | None:
    """The error among the message's arguments, if there is one."""
    return next((arg for arg in args if isinstance(arg, BaseException)), None) if isinstance(args, tuple) else None


class LoggingSetup:
    """How one run logs: by the user's file, by the setup of the worker's module, or by the settings.

    Made before the worker's module is imported, applied after it. Raises ConfigurationError for a file that cannot be
    read, and for a file beside an option that it replaces.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._run = settings.run
        self._member = os.environ.get(MEMBER)
        self._before = logging.getLogger().handlers[:]
        self._config = None if self._run.log_config is None else _read_config(Path(self._run.log_config))
        if self._config is not None:
            for field in ("log_format", "log_level"):
                origin = settings.origin(settings.run, field)
                if origin.kind == "flag":
                    raise ConfigurationError(f"{origin.name} and --log-config do not go together: the file says it all")

    def apply(self) -> None:
        """Set up logging, unless the worker's module has done so at its import."""
        if self._member is not None:
            _mark_records(self._member)
        if self._config is not None:
            _apply_config(Path(str(self._run.log_config)), self._config)
        elif logging.getLogger().handlers == self._before:
            set_up_logging(self._run.log_format, self._run.log_level, is_member=self._member is not None)
        logging.captureWarnings(capture=True)


def _read_config(path: Path) -> dict[str, Any] | RawConfigParser:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            read = json.loads(text)
        elif path.suffix == ".toml":
            read = tomllib.loads(text)
        else:
            read = RawConfigParser()
            read.read_string(text)
    except (OSError, ValueError, RecursionError, ConfigParserError) as error:
        raise ConfigurationError(f"--log-config {path} cannot be read: {error}") from None
    if not isinstance(read, dict | RawConfigParser):
        raise ConfigurationError(
            f"--log-config {path} holds no JSON object: write what logging.config.dictConfig takes"
        )
    return read


def _apply_config(path: Path, config: dict[str, Any] | RawConfigParser) -> None:
    try:
        if isinstance(config, dict):
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False} | config)
        else:
            logging.config.fileConfig(config, disable_existing_loggers=False)
    except Exception as error:  # the handlers and formatters that it names are anybody's code
        raise ConfigurationError(f"--log-config {path} does not fit: {_reasons(error)}") from error


def _reasons(error: BaseException) -> str:
    """The error and its causes: ``dictConfig`` hides the reason behind "Unable to configure handler"."""
    cause = error.__cause__
    return f"{error}" if cause is None else f"{error}: {_reasons(cause)}"


def _mark_records(member: str) -> None:
    made = logging.getLogRecordFactory()

    def marked(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(*args, **kwargs)
        record.member = member
        return record

    logging.setLogRecordFactory(marked)


def set_up_logging(log_format: str, level: str, *, is_member: bool = False) -> None:
    """Write all log records of this process to standard error; worker processes send their records here."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else TextFormatter(TEXT_OF_MEMBER if is_member else TEXT)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def log_error(error: BaseException) -> bool:
    """If the log is JSON, log the error that ends a command; returns whether it did."""
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        return False
    logger.error("%s", error)
    return True
