"""``pyrallel-consumer inspect``: the options; ``run`` carries them out."""

# ruff: noqa: PLC0415 -- heavy imports wait until a run needs them: --help and refused options answer at once

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from pyrallel_consumer.cli.command import check_servers, exit_with, kafka_config
from pyrallel_consumer.cli.inspect.offsets import offsets

DEFAULT_URL: Final = "http://127.0.0.1:9091"
LEAST_SECONDS: Final = 0.1


inspect = typer.Typer(rich_markup_mode=None)
inspect.add_typer(offsets, name="offsets")


@inspect.callback(invoke_without_command=True)
def look(
    context: typer.Context,
    *,
    url: Annotated[
        str | None,
        typer.Option(help=f"The metrics endpoint of a running consumer; by default {DEFAULT_URL}, or METRICS_PORT's."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Ask the broker instead: what this group has committed for --topic.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The topic, with --group.")] = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(help="Kafka's address, with --group; without it, and beside it, the KAFKA_ settings count."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=LEAST_SECONDS, max=3600, help="Seconds between looks, with --watch.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, on one line for each look.")] = False,
) -> None:
    """Show what a consumer or a group is doing.

    A running consumer (METRICS_ENABLED=true) tells its load, its limits,
    and of each partition what blocks it.

    With --group and --topic no consumer needs to run: the commits on the broker tell which messages above the committed
    offsets are finished.

    Exit code 1 if no consumer or broker answers, or group or topic do not exist.
    """
    from pyrallel_consumer.cli.inspect.run import run_group, run_running

    if context.invoked_subcommand is not None:
        return
    every_seconds = every if watch else None
    if group is None and topic is None:
        if bootstrap_servers is not None:
            raise typer.BadParameter("it needs --group and --topic.", param_hint="'--bootstrap-servers'")
        address = None if url is None else _checked_url(url)
        exit_with(lambda: run_running(address or _own_url(), as_json=as_json, every_seconds=every_seconds))
    if url is not None:
        raise typer.BadParameter("give it, or --group and --topic, not both.", param_hint="'--url'")
    name, of_topic = _given(group, "--group"), _given(topic, "--topic")
    if bootstrap_servers is not None:
        check_servers(bootstrap_servers)
    exit_with(
        lambda: run_group(kafka_config(bootstrap_servers), name, of_topic, as_json=as_json, every_seconds=every_seconds)
    )


def _own_url() -> str:
    """The address at which a consumer of this environment's settings serves its metrics, on this machine."""
    from pyrallel_consumer.config import MetricsConfig

    metrics = MetricsConfig()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(metrics.host, metrics.host)  # noqa: S104 -- compared, not bound
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{metrics.port}" if metrics.port else DEFAULT_URL


def _given(value: str | None, option: str) -> str:
    if value is None:
        raise typer.BadParameter("--group and --topic go together.", param_hint=f"'{option}'")
    if not value.strip():
        raise typer.BadParameter("it is empty.", param_hint=f"'{option}'")
    return value


def _checked_url(url: str) -> str:
    address = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise typer.BadParameter(f"{url!r} is no address; write {DEFAULT_URL}.", param_hint="'--url'")
    return address
