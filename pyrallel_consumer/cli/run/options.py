"""``pyrallel-consumer run`` and ``config``: the options, and the handling of errors. Other files do the work."""

# ruff: noqa: PLC0415 -- heavy imports wait until a run needs them: --help and refused options answer at once

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Literal, TypedDict, Unpack, get_type_hints

import typer

from pyrallel_consumer.cli.command import EXIT_FAILED, Ending, exit_with
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.terminal import complain
from pyrallel_consumer.dto import ExecutionMode


def _option(text: str, variable: str, *names: str, metavar: str | None = None) -> typer.models.OptionInfo:
    """An option whose help names its variable. Read by the settings, not by the option: `.env` counts too."""
    option: typer.models.OptionInfo = typer.Option(*names, help=f"{text} ({variable})", metavar=metavar)
    return option


class SettingOptions(TypedDict, total=False):
    """The options that stand for settings. Absent ones come from the environment, ``.env`` or the default."""

    worker: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE:WORKER",
            help="The place of a worker, as in app.orders:handle; or of a PyrallelConsumer, a list of them, or a "
            "function without parameters that returns any of these. (PYRALLEL_WORKER)",
            show_default=False,
        ),
    ]
    topic: Annotated[
        list[str] | None,
        _option(
            "A topic, may be given several times; or a ^pattern of whole names.", "PYRALLEL_TOPIC", metavar="TOPIC"
        ),
    ]
    lifespan: Annotated[
        str | None,
        _option(
            "The place of a function that returns a context manager, entered before the first message.",
            "PYRALLEL_LIFESPAN",
            metavar="MODULE:FUNCTION",
        ),
    ]
    bootstrap_servers: Annotated[
        str | None, _option("Kafka's address, host:port.", "KAFKA_BOOTSTRAP_SERVERS", metavar="HOST:PORT")
    ]
    group: Annotated[str | None, _option("The consumer group.", "KAFKA_CONSUMER_GROUP", metavar="NAME")]
    mode: Annotated[
        ExecutionMode | None,
        _option(
            "async for `async def` workers, thread for blocking calls, process for CPU work (either kind).",
            "EXECUTION_MODE",
        ),
    ]
    concurrency: Annotated[
        int | None,
        _option(
            "Messages in flight at once: tasks (EXECUTION_MAX_IN_FLIGHT) with async, else threads or processes "
            "(EXECUTION_WORKER_POOL_SIZE).",
            "PYRALLEL_CONCURRENCY",
            metavar="NUMBER",
        ),
    ]
    max_attempts: Annotated[
        int | None,
        _option("Attempts of one message in total, the first included.", "EXECUTION_MAX_ATTEMPTS", metavar="NUMBER"),
    ]
    metrics_port: Annotated[
        int | None,
        _option("Serve Prometheus metrics on this port.", "METRICS_ENABLED and METRICS_PORT", metavar="PORT"),
    ]


class RunOptions(SettingOptions, total=False):
    """The options of a run: for settings, and for the command itself."""

    app_dir: Annotated[
        str | None,
        _option("Import the worker from this folder; default: the current one.", "PYRALLEL_APP_DIR", metavar="FOLDER"),
    ]
    burst: Annotated[
        bool | None,
        _option(
            "End when all messages that were in the topics at the start are committed.",
            "PYRALLEL_BURST",
            "--burst/--no-burst",
        ),
    ]
    fail_on_dead_letters: Annotated[
        bool | None,
        _option(
            "Exit with 1 if messages were dead-lettered or skipped.",
            "PYRALLEL_FAIL_ON_DEAD_LETTERS",
            "--fail-on-dead-letters/--no-fail-on-dead-letters",
        ),
    ]
    consumers: Annotated[
        int | None,
        _option(
            "Consume in N processes, each a member of the group: for more cores.", "PYRALLEL_CONSUMERS", metavar="N"
        ),
    ]
    reload: Annotated[
        bool | None,
        _option(
            "Start again when a file changes; the old run drains first. Needs the extra [reload].",
            "PYRALLEL_RELOAD",
            "--reload/--no-reload",
        ),
    ]
    reload_dir: Annotated[
        list[str] | None,
        _option(
            "A folder to watch, may be given several times; default: the app-dir.",
            "PYRALLEL_RELOAD_DIR",
            metavar="FOLDER",
        ),
    ]
    log_format: Annotated[
        Literal["text", "json"] | None,
        _option("json: an object per line, with the fields of structured logs.", "PYRALLEL_LOG_FORMAT"),
    ]
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, _option("What to log.", "PYRALLEL_LOG_LEVEL")
    ]
    log_config: Annotated[
        str | None,
        _option(
            "Set up logging by this file (.json, .toml or .ini), not by the two options above.",
            "PYRALLEL_LOG_CONFIG",
            metavar="FILE",
        ),
    ]


def takes(options: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Show typer the keys of ``options``, a TypedDict, in place of a command's ``**given``."""
    shown = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in get_type_hints(options, include_extras=True).items()
    ]

    def shown_by(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            each for each in signature(command, eval_str=True).parameters.values() if each.kind is not each.VAR_KEYWORD
        ]
        parameters = [*shown, *own]
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return shown_by


def _flags(given: RunOptions | SettingOptions) -> Flags:
    """The options as they were given. Options that are given several times are named in the plural there."""
    options: dict[str, Any] = {**given}
    for several in ("topic", "reload_dir"):
        options[f"{several}s"] = tuple(options.pop(several, None) or ())
    return Flags(**options)


@takes(RunOptions)
def run(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Look at settings, worker, broker, topics, group; print a table and exit.")
    ] = False,
    **given: Unpack[RunOptions],
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
    flags, ending = _flags(given), Ending()
    exit_with(lambda: _check(flags) if check else _run(flags, ending), ending)


@takes(SettingOptions)
def config(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    **given: Unpack[SettingOptions],
) -> None:
    """Show every setting and its source, no secrets."""
    from pyrallel_consumer.cli.config_shown import show_config

    exit_with(lambda: show_config(_flags(given), as_json=as_json))


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
        settings.worker()
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
