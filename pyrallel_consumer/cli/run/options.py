"""``pyrallel-consumer run`` and ``config``: the options, and the handling of errors. Other files do the work."""

# ruff: noqa: PLC0415 -- heavy imports wait until a run needs them: --help and refused options answer at once

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pyrallel_consumer.cli.command import EXIT_FAILED, Ending, exit_with
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.terminal import complain
from pyrallel_consumer.dto import ExecutionMode


def _option(text: str, variable: str, *names: str, metavar: str | None = None) -> typer.models.OptionInfo:
    """An option whose help names its variable. Read by the settings, not by the option: `.env` counts too."""
    option: typer.models.OptionInfo = typer.Option(*names, help=f"{text} ({variable})", metavar=metavar)
    return option


Worker = Annotated[
    str | None,
    typer.Argument(
        metavar="MODULE:WORKER",
        help="The place of a worker, as in app.orders:handle; or of a PyrallelConsumer, a list of them, or a function "
        "without parameters that returns any of these. (PYRALLEL_WORKER)",
        show_default=False,
    ),
]
Topic = Annotated[
    list[str] | None,
    _option("A topic, may be given several times; or a ^pattern of whole names.", "PYRALLEL_TOPIC", metavar="TOPIC"),
]
Lifespan = Annotated[
    str | None,
    _option(
        "The place of a function that returns a context manager, entered before the first message.",
        "PYRALLEL_LIFESPAN",
        metavar="MODULE:FUNCTION",
    ),
]
Servers = Annotated[str | None, _option("Kafka's address, host:port.", "KAFKA_BOOTSTRAP_SERVERS", metavar="HOST:PORT")]
Group = Annotated[str | None, _option("The consumer group.", "KAFKA_CONSUMER_GROUP", metavar="NAME")]
Mode = Annotated[
    ExecutionMode | None,
    _option(
        "async for `async def` workers, thread for blocking calls, process for CPU work (either kind).",
        "EXECUTION_MODE",
    ),
]
Concurrency = Annotated[
    int | None,
    _option(
        "Messages in flight at once: tasks (EXECUTION_MAX_IN_FLIGHT) with async, else threads or processes "
        "(EXECUTION_WORKER_POOL_SIZE).",
        "PYRALLEL_CONCURRENCY",
        metavar="NUMBER",
    ),
]
MaxAttempts = Annotated[
    int | None,
    _option("Attempts of one message in total, the first included.", "EXECUTION_MAX_ATTEMPTS", metavar="NUMBER"),
]
MetricsPort = Annotated[
    int | None, _option("Serve Prometheus metrics on this port.", "METRICS_ENABLED and METRICS_PORT", metavar="PORT")
]
AppDir = Annotated[
    str | None,
    _option("Import the worker from this folder; default: the current one.", "PYRALLEL_APP_DIR", metavar="FOLDER"),
]
LogFormat = Annotated[
    Literal["text", "json"] | None,
    _option("json: an object per line, with the fields of structured logs.", "PYRALLEL_LOG_FORMAT"),
]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"] | None, _option("What to log.", "PYRALLEL_LOG_LEVEL")]
LogConfig = Annotated[
    str | None,
    _option(
        "Set up logging by this file (.json, .toml or .ini), not by the two options above.",
        "PYRALLEL_LOG_CONFIG",
        metavar="FILE",
    ),
]
FailOnDeadLetters = Annotated[
    bool | None,
    _option(
        "Exit with 1 if messages were dead-lettered or skipped.",
        "PYRALLEL_FAIL_ON_DEAD_LETTERS",
        "--fail-on-dead-letters/--no-fail-on-dead-letters",
    ),
]
Burst = Annotated[
    bool | None,
    _option(
        "End when all messages that were in the topics at the start are committed.",
        "PYRALLEL_BURST",
        "--burst/--no-burst",
    ),
]
Consumers = Annotated[
    int | None,
    _option("Consume in N processes, each a member of the group: for more cores.", "PYRALLEL_CONSUMERS", metavar="N"),
]
Reload = Annotated[
    bool | None,
    _option(
        "Start again when a file changes; the old run drains first. Needs the extra [reload].",
        "PYRALLEL_RELOAD",
        "--reload/--no-reload",
    ),
]
ReloadDir = Annotated[
    list[str] | None,
    _option(
        "A folder to watch, may be given several times; default: the app-dir.", "PYRALLEL_RELOAD_DIR", metavar="FOLDER"
    ),
]


def run(
    *,
    worker: Worker = None,
    topic: Topic = None,
    lifespan: Lifespan = None,
    bootstrap_servers: Servers = None,
    group: Group = None,
    mode: Mode = None,
    concurrency: Concurrency = None,
    max_attempts: MaxAttempts = None,
    metrics_port: MetricsPort = None,
    app_dir: AppDir = None,
    burst: Burst = None,
    fail_on_dead_letters: FailOnDeadLetters = None,
    consumers: Consumers = None,
    reload: Reload = None,
    reload_dir: ReloadDir = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    log_config: LogConfig = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look at settings, worker, broker, topics, group; print a table and exit.")
    ] = False,
) -> None:
    """Run a worker on topics, or consumers, until SIGINT or SIGTERM.

    Every setting also comes from the environment or a .env file, under
    the name in parentheses; `pyrallel-consumer config` lists them all.

    The first signal finishes what runs, commits and leaves the group;
    a second one aborts.

    \b
    Exit codes:
      0    stopped by a signal after draining; burst done; check passed
      1    failed: the broker, a topic, the worker's module, a stuck burst,
           dead letters with --fail-on-dead-letters
      2    a setting, the worker's place or kind, or an option does not fit
      3    stopped, but the drain did not wait for all messages that had
           begun: the log names them, and they run again
      130  aborted by a second SIGINT, or a burst that SIGINT cut short
      143  the same by SIGTERM
    """  # noqa: D301 -- click keeps the lines of a paragraph that begins with a backspace
    flags = Flags(
        worker=worker,
        topics=tuple(topic or ()),
        lifespan=lifespan,
        bootstrap_servers=bootstrap_servers,
        group=group,
        mode=mode,
        concurrency=concurrency,
        max_attempts=max_attempts,
        metrics_port=metrics_port,
        app_dir=app_dir,
        log_format=log_format,
        log_level=log_level,
        log_config=log_config,
        burst=burst,
        fail_on_dead_letters=fail_on_dead_letters,
        consumers=consumers,
        reload=reload,
        reload_dirs=tuple(reload_dir or ()),
    )
    ending = Ending()
    exit_with(lambda: _check(flags) if check else _run(flags, ending), ending)


def config(
    *,
    worker: Worker = None,
    topic: Topic = None,
    lifespan: Lifespan = None,
    bootstrap_servers: Servers = None,
    group: Group = None,
    mode: Mode = None,
    concurrency: Concurrency = None,
    max_attempts: MaxAttempts = None,
    metrics_port: MetricsPort = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Show every setting and its source, no secrets."""
    flags = Flags(
        worker=worker,
        topics=tuple(topic or ()),
        lifespan=lifespan,
        bootstrap_servers=bootstrap_servers,
        group=group,
        mode=mode,
        concurrency=concurrency,
        max_attempts=max_attempts,
        metrics_port=metrics_port,
    )
    from pyrallel_consumer.cli.config_shown import show_config

    exit_with(lambda: show_config(flags, as_json=as_json))


def _check(flags: Flags) -> int:
    from pyrallel_consumer.cli.check.check import run_check

    return run_check(flags)


def _run(flags: Flags, ending: Ending) -> int:
    from pyrallel_consumer.cli.run.log import LoggingSetup
    from pyrallel_consumer.cli.run.settings import settings_of
    from pyrallel_consumer.cli.run.supervisors.reload import hold_lifeline, run_with_reload
    from pyrallel_consumer.config.likely_mistakes import warn_of_typos
    from pyrallel_consumer.errors import ConfigurationError

    hold_lifeline()
    settings = settings_of(flags)
    logging_setup = LoggingSetup(settings)
    if settings.run.worker is None:
        settings.topic(), settings.worker()
    if settings.run.consumers is not None and settings.run.consumers > 1:
        if settings.run.reload:
            raise ConfigurationError(
                "--consumers and --reload do not go together: a reload waits until the run before has left the group. "
                "Leave one of them out"
            )
        from pyrallel_consumer.cli.run.supervisors.members import run_members

        logging_setup.apply()
        return run_members(settings.run.consumers, flags, settings)
    if settings.run.reload:
        if settings.run.burst:
            raise ConfigurationError("--reload and --burst do not go together: a burst ends, a reload goes on")
        logging_setup.apply()
        return run_with_reload(flags, settings)
    from pyrallel_consumer.cli.run.consumer import run_consumers
    from pyrallel_consumer.cli.run.program import found_consumers
    from pyrallel_consumer.cli.run.worker_place import WorkerImportError

    try:
        consumers = found_consumers(settings)
    except WorkerImportError as error:
        complain(f"{error.shown}\nError: {error}: its own code raises, see above")
        return EXIT_FAILED
    # After the import, which may have set up logging: that is left alone.
    logging_setup.apply()
    warn_of_typos([type(settings.run)])
    return run_consumers(settings, consumers, ending)
