"""The command line, `pyrallel-consumer`: a folder per command; each imports its modules only when it runs.

A new command is a folder with its ``options``, and one line at the end of this file.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pyrallel_consumer.cli.demo.options import demo
from pyrallel_consumer.cli.dlq.options import dlq
from pyrallel_consumer.cli.inspect.options import inspect
from pyrallel_consumer.cli.run.options import config, run
from pyrallel_consumer.cli.terminal import accept_any_text, say
from pyrallel_consumer.release import NAME, VERSION, distribution

main = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        say(f"{NAME} {VERSION}")
        if (installed := distribution()) != f"{NAME} {VERSION}":
            say(f"The installed distribution is another one: {installed}")
        raise typer.Exit


@main.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Consume Kafka topics with far more parallelism than partitions, in order by key."""
    accept_any_text()


main.command()(run)
main.command()(config)
main.command()(demo)
main.add_typer(inspect, name="inspect")
main.add_typer(dlq, name="dlq")
