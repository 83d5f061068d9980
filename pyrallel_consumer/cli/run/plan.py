"""The options of ``run`` and ``config`` as given on the command line. Light, because it is always loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flags:
    """Options as given; None (or empty) if the environment, ``.env`` or the default is used."""

    worker: str | None = None
    topics: tuple[str, ...] = ()
    lifespan: str | None = None
    bootstrap_servers: str | None = None
    group: str | None = None
    mode: str | None = None
    concurrency: int | None = None
    max_attempts: int | None = None
    metrics_port: int | None = None
    app_dir: str | None = None
    log_format: str | None = None
    log_level: str | None = None
    log_config: str | None = None
    burst: bool | None = None
    fail_on_dead_letters: bool | None = None
    consumers: int | None = None
    reload: bool | None = None
    reload_dirs: tuple[str, ...] = ()
