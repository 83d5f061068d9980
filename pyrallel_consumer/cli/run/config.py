"""The settings of ``pyrallel-consumer run`` alone, from the same sources as all settings: ``PYRALLEL_<NAME>``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.ingress.reading.subscription import PATTERN_MARK

LogLevel = Literal["debug", "info", "warning", "error"]


class RunConfig(Settings):
    """For ``pyrallel-consumer run`` alone: which worker to run on which topics, and how the command behaves."""

    environment_prefixes = ("PYRALLEL_",)

    worker: str | None = None
    """``package.module:name``, dots allowed after the colon: a worker, a ``PyrallelConsumer``, a list of them, or a
    function without parameters that returns any of these. Without it nothing can run."""

    lifespan: str | None = None
    """``package.module:function`` that returns a context manager: entered before the first message and left after
    the last attempt. Unset: none. Only with a worker: a ``PyrallelConsumer`` has its own."""

    topic: list[str] = Field(default_factory=list)
    """Topics, several separated by commas, or one pattern that begins with ``^``. Without one no worker can run; a
    ``PyrallelConsumer`` has its own."""

    concurrency: int | None = Field(None, ge=1, le=1_000_000)
    """Messages worked on at once, 1-1,000,000: ``max_in_flight`` for ``async``, ``worker_pool_size`` for ``thread`` and
    ``process`` (there at most 4096). Unset: these settings decide. Set, it overrides them."""

    app_dir: str = Field(".", min_length=1)
    """Folder to import the worker from, before all others; default: the current one."""

    log_format: Literal["text", "json"] = "text"
    """``text`` for people (default), or ``json``: one object per line, with the fields that log calls gave as extra."""

    log_level: LogLevel = "info"
    """Of the library and of the worker's own loggers: ``debug``, ``info``, ``warning`` or ``error``."""

    log_config: str | None = None
    """A logging configuration file, instead of ``log_format`` and ``log_level``: ``.json`` or ``.toml`` for
    ``logging.config.dictConfig``, any other file for ``logging.config.fileConfig``."""

    burst: bool = False
    """Whether to end when all messages that were in the topics at the start are committed."""

    fail_on_dead_letters: bool = False
    """Whether the exit code is 1 if messages were dead-lettered or skipped after their last attempt. Off by default,
    because these messages have an outcome and the log names them."""

    consumers: int | None = Field(None, ge=1, le=256)
    """How many processes consume, 1-256 (unset: this one), each a member of the group with all of these settings to
    itself. More than the topics have partitions are idle. Not with ``reload``."""

    reload: bool = False
    """Whether to restart when a file changes. For development: each reload leaves the group and joins it again."""

    reload_dir: list[str] = Field(default_factory=list)
    """Folders to watch for ``reload``, several separated by commas; default: ``app_dir``."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @field_validator("topic", mode="before")
    @classmethod
    def _topics(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [value.strip()] if value.strip().startswith(PATTERN_MARK) else _split_at_commas(value)
        return [name for said in value for name in cls._topics(said)] if isinstance(value, list) else value

    @field_validator("reload_dir", mode="before")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        return _split_at_commas(value)

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value


def _split_at_commas(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]
