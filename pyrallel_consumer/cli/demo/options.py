"""``pyrallel-consumer demo``: the options, and the handling of errors; the run itself is in ``run``."""

# ruff: noqa: PLC0415 -- heavy imports wait until a run needs them: --help and refused options answer at once

from __future__ import annotations

import math
import signal
import time
from typing import Annotated

import typer

from pyrallel_consumer.cli.command import EXIT_FAILED, EXIT_SIGNALLED, EXIT_USAGE
from pyrallel_consumer.cli.demo.plan import DemoPlan
from pyrallel_consumer.cli.terminal import complain, say_json

MOST_MESSAGES = 5_000_000
MOST_PARTITIONS = 1000
LEAST_WORKER_MS = 0.1
MOST_WORKER_MS = 10_000
MOST_FAILING = 0.5


def demo(
    *,
    messages: Annotated[int, typer.Option(min=1, max=MOST_MESSAGES, help="Orders to produce and consume.")] = 200_000,
    keys: Annotated[int, typer.Option(min=1, max=MOST_MESSAGES, help="Customers; one in 100 orders often.")] = 5_000,
    partitions: Annotated[int, typer.Option(min=1, max=MOST_PARTITIONS, help="Partitions of the topic.")] = 8,
    worker_ms: Annotated[
        float, typer.Option(min=LEAST_WORKER_MS, max=MOST_WORKER_MS, help="How long the worker waits on each order.")
    ] = 5.0,
    fail_rate: Annotated[
        float,
        typer.Option(
            min=0, max=MOST_FAILING, help="Share of orders that fail: half of them once, half always (dead letters)."
        ),
    ] = 0.0,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            help="A Kafka to use, with the KAFKA_ settings of the environment, instead of a broker of its own."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other orders.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the verdict as a JSON object on the last line.")
    ] = False,
) -> None:
    """Watch two consumers at work, and a verdict.

    Orders are consumed in parallel, in order by customer, and checked.

    A second consumer joins the group on the way and leaves it again.

    Exit code 0 only if every order was processed once, in order within
    its customer, and committed; with --fail-rate: or lies in the
    dead-letter topic, once, where it belongs.
    """
    if math.isnan(worker_ms):
        raise typer.BadParameter("nan is no number of milliseconds.", param_hint="'--worker-ms'")
    if math.isnan(fail_rate):
        raise typer.BadParameter("nan is no share.", param_hint="'--fail-rate'")
    plan = DemoPlan(messages, keys, partitions, worker_ms, bootstrap_servers, seed, fail_rate)
    raise typer.Exit(_run(plan, as_json=as_json))


def _run(plan: DemoPlan, *, as_json: bool) -> int:
    from pyrallel_consumer.errors import ConfigurationError, PyrallelConsumerError

    try:
        _check_settings(plan.bootstrap_servers)
        import asyncio

        from rich.console import Console

        from pyrallel_consumer.cli.demo.display import display_for, warnings_told
        from pyrallel_consumer.cli.demo.run import DemoRun

        with display_for(Console(highlight=False), time.monotonic) as display:
            with warnings_told(display):
                verdict = asyncio.run(DemoRun(plan, display).run())
            display.conclude(verdict)
    except ConfigurationError as error:
        complain(f"Error: {error}")
        return EXIT_USAGE
    except PyrallelConsumerError as error:
        complain(f"Error: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_SIGNALLED + signal.SIGINT
    if as_json:
        say_json(verdict.to_json())
    return verdict.exit_code


def _check_settings(bootstrap_servers: str | None) -> None:
    """Refuse an invalid address as an error of the option, and a bad environment as an error of the environment."""
    from pyrallel_consumer.config import KafkaConfig
    from pyrallel_consumer.errors import ConfigurationError

    KafkaConfig(bootstrap_servers="localhost:9092")
    if bootstrap_servers is None:
        return
    try:
        KafkaConfig(bootstrap_servers=bootstrap_servers)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="'--bootstrap-servers'") from error
