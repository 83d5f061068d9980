"""``pyrallel-consumer inspect offsets reset``: the options; ``reset`` carries them out."""

# ruff: noqa: PLC0415 -- heavy imports wait until a run needs them: --help and refused options answer at once

from __future__ import annotations

from typing import Annotated

import typer

from pyrallel_consumer.cli.command import check_servers, exit_with, kafka_config

offsets = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The offsets that a group has committed.")


@offsets.callback()
def _offsets() -> None:
    """Move what a stopped group has committed."""


@offsets.command("reset")
def reset(
    *,
    group: Annotated[str, typer.Option(help="The group. Its consumers must have stopped.")],
    topic: Annotated[str, typer.Option(help="The topic.")],
    to: Annotated[
        str, typer.Option(help="earliest, latest, an offset, or a time with its zone: 2026-11-30T08:00:00Z.")
    ],
    partition: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this partition; may be given several times.")
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="Kafka's address; without it, and beside it, the KAFKA_ settings count.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell where the offsets would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object on one line.")] = False,
) -> None:
    """Move the offsets of a stopped group: to an end of the log, a time, or
    an offset.

    The map of finished messages above an offset is dropped with it: every message from the new offset on runs, even if
    it ran before. Unfinished messages before the new offset never run in this group.

    A group whose consumers run is refused. Exit code 1 if it is refused, or
    if the broker does not answer, or group or topic do not exist.
    """
    from pyrallel_consumer.cli.inspect.reset import run_reset
    from pyrallel_consumer.cli.inspect.reset_plan import parse_target

    for option, value in (("--group", group), ("--topic", topic)):
        if not value.strip():
            raise typer.BadParameter("it is empty.", param_hint=f"'{option}'")
    try:
        target = parse_target(to)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="'--to'") from error
    if bootstrap_servers is not None:
        check_servers(bootstrap_servers)
    exit_with(
        lambda: run_reset(
            kafka_config(bootstrap_servers),
            group,
            topic,
            target,
            frozenset(partition or ()),
            is_dry_run=dry_run,
            as_json=as_json,
        )
    )
