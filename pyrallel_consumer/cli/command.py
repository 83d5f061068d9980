"""The common part of all commands: exit codes, errors that end a command with one sentence, and the broker's address.

Light: the command line loads it always.
"""

# ruff: noqa: PLC0415 -- heavy imports wait until a run needs them: --help and refused options answer at once

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import typer

from pyrallel_consumer.cli.terminal import complain

if TYPE_CHECKING:
    from pyrallel_consumer.config import KafkaConfig

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_CUT_OFF: Final = 3
"""It stopped in order, but some messages were still running after the drain."""
EXIT_SIGNALLED: Final = 128
"""Plus the signal's number."""


class Ending:
    """How a command ends. ``is_at_once``: without waiting for tasks and threads, which will not end."""

    is_at_once = False


def exit_with(command: Callable[[], int], ending: Ending | None = None) -> None:
    """End the program with the command's exit code, or with the code and the sentence of its error."""
    from pyrallel_consumer.errors import ConfigurationError, PyrallelConsumerError

    try:
        code = command()
    except ConfigurationError as error:
        _tell(error)
        code = EXIT_USAGE
    except PyrallelConsumerError as error:
        _tell(error)
        code = EXIT_FAILED
    except KeyboardInterrupt:
        code = EXIT_SIGNALLED + signal.SIGINT
    if ending is not None and ending.is_at_once:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def _tell(error: Exception) -> None:
    """One sentence on standard error; a line of JSON where the command logs JSON."""
    from pyrallel_consumer.cli.run.log import log_error

    if not log_error(error):
        complain(f"Error: {error}")


def check_servers(bootstrap_servers: str) -> None:
    """Refuse an invalid address as an error of the option; a bad environment is reported when the command begins."""
    from pyrallel_consumer.config import KafkaConfig
    from pyrallel_consumer.errors import ConfigurationError

    try:
        KafkaConfig(bootstrap_servers="localhost:9092")
    except ConfigurationError:
        return
    try:
        KafkaConfig(bootstrap_servers=bootstrap_servers)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="'--bootstrap-servers'") from error


def kafka_config(bootstrap_servers: str | None) -> KafkaConfig:
    """The settings of the environment; ``bootstrap_servers`` overrides its address."""
    from pyrallel_consumer.config import KafkaConfig

    return KafkaConfig() if bootstrap_servers is None else KafkaConfig(bootstrap_servers=bootstrap_servers)
