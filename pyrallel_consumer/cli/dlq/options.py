"""``pyrallel-consumer dlq``: the options of list, show and replay; ``run`` carries them out."""

# ruff: noqa: PLC0415 -- heavy imports wait until a run needs them: --help and refused options answer at once

from __future__ import annotations

import math
from typing import Annotated

import typer

from pyrallel_consumer.cli.command import check_servers, exit_with
from pyrallel_consumer.cli.dlq.plan import MOST_LISTED, MOST_REPLAYS, Where

dlq = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at dead letters, and send them back.")

Topic = Annotated[str | None, typer.Option(help="The source topic: its letters are in TOPIC and the suffix.")]
DlqTopic = Annotated[str | None, typer.Option(help="The dead-letter topic itself.")]
Servers = Annotated[
    str | None, typer.Option(help="Kafka's address; without it, and beside it, the KAFKA_ settings count.")
]
Group = Annotated[str | None, typer.Option(help="Only letters of this consumer group.")]
ReplayGroup = Annotated[
    str | None, typer.Option(help="The group in which replays are noted; DLQ-TOPIC.replay unless given.")
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help="error=TEXT in the reason, key=TEXT or key=hex:BYTES; since=TIME, until=TIME for when the message was "
        "written, failed-since=TIME, failed-until=TIME for when it failed. TIME is 2026-11-22T06:30, or 2h for two "
        "hours ago. May be given several times.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object on the last line.")]


@dlq.command("list")
def list_letters(
    *,
    topic: Topic = None,
    dlq_topic: DlqTopic = None,
    bootstrap_servers: Servers = None,
    group: Group = None,
    replay_group: ReplayGroup = None,
    filters: Filters = None,
    letters: Annotated[
        bool, typer.Option("--letters", help="List them one by one too: partition and offset are what show asks for.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --letters: how many to list at most.")] = MOST_LISTED,
    as_json: AsJson = False,
) -> None:
    """Count letters by group, error and topic.

    Of one topic, or of all topics that have the suffix.
    """
    from pyrallel_consumer.cli.dlq.run import run_list

    where = _where(topic, dlq_topic, bootstrap_servers, group=group, replay_group=replay_group, filters=filters)
    exit_with(lambda: run_list(where, most_listed=limit if letters else 0, as_json=as_json))


@dlq.command("show")
def show_letter(
    *,
    partition: Annotated[int, typer.Option(min=0, help="The letter's partition in the dead-letter topic.")],
    offset: Annotated[int, typer.Option(min=0, help="Its offset there.")],
    topic: Topic = None,
    dlq_topic: DlqTopic = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Show one letter: reason, headers, key, value."""
    from pyrallel_consumer.cli.dlq.run import run_show

    where = _where(topic, dlq_topic, bootstrap_servers, needs_topic=True)
    exit_with(lambda: run_show(where, partition, offset, as_json=as_json))


@dlq.command("replay")
def replay_letters(
    *,
    topic: Topic = None,
    dlq_topic: DlqTopic = None,
    bootstrap_servers: Servers = None,
    group: Group = None,
    replay_group: ReplayGroup = None,
    filters: Filters = None,
    allow_topic: Annotated[
        list[str] | None,
        typer.Option(help="Send letters back to this topic, too, if they name it; may be given several times."),
    ] = None,
    max_replays: Annotated[
        int, typer.Option(min=1, help="Skip letters whose message was sent back so often already.")
    ] = MOST_REPLAYS,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Letters per second at most.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Send so many letters at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be sent.")] = False,
    exactly_once: Annotated[
        bool, typer.Option("--exactly-once", help="Send and note in transactions: nothing twice, even after a kill.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send letters back to their topic, each once.

    They are sent in order. Their topic is the dead-letter topic's name
    without its suffix. A letter that
    names another topic stays, unless --allow-topic allows it. All groups
    that consume the topic get the message again.

    A group notes which letters were sent: started again, a replay goes on where it stopped. Letters that were not
    selected, skipped or refused stay for a later replay. Run one replay of a topic at a time.
    A replay that is killed sends up to 200 letters again; with --exactly-once none, for readers of committed records.
    That needs WRITE and DESCRIBE on the transactional id: the group's name and "-replay".

    Exit code 1 if a letter could not be sent back, 130 after Ctrl-C,
    which waits for what is under way and notes it.
    """
    from pyrallel_consumer.cli.dlq.run import ReplayOptions, run_replay

    if rate is not None and not math.isfinite(rate):
        raise typer.BadParameter("it must be a finite number.", param_hint="'--rate'")
    if any(not name.strip() for name in allow_topic or ()):
        raise typer.BadParameter("it is empty.", param_hint="'--allow-topic'")
    where = _where(
        topic,
        dlq_topic,
        bootstrap_servers,
        group=group,
        replay_group=replay_group,
        filters=filters,
        needs_topic=True,
    )
    options = ReplayOptions(max_replays, rate, limit, dry_run, tuple(allow_topic or ()), exactly_once)
    exit_with(lambda: run_replay(where, options, as_json=as_json))


def _where(
    topic: str | None,
    dlq_topic: str | None,
    bootstrap_servers: str | None,
    *,
    group: str | None = None,
    replay_group: str | None = None,
    filters: list[str] | None = None,
    needs_topic: bool = False,
) -> Where:
    """The selection; refuses contradictory options by name."""
    if topic is not None and dlq_topic is not None:
        raise typer.BadParameter("give --topic or --dlq-topic, not both.", param_hint="'--dlq-topic'")
    if needs_topic and topic is None and dlq_topic is None:
        raise typer.BadParameter("it is needed, or --dlq-topic is.", param_hint="'--topic'")
    given = {"--topic": topic, "--dlq-topic": dlq_topic, "--group": group, "--replay-group": replay_group}
    for option, value in given.items():
        if value is not None and not value.strip():
            raise typer.BadParameter("it is empty.", param_hint=f"'{option}'")
    from pyrallel_consumer.cli.dlq.filter import parse_filters

    try:
        parse_filters(filters or (), 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--filter'") from error
    if bootstrap_servers is not None:
        check_servers(bootstrap_servers)
    return Where(topic, dlq_topic, bootstrap_servers, group, tuple(filters or ()), replay_group)
