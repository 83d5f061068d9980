"""The consumers that ``run`` must run, from the object that the user named: a worker, consumers, or their maker.

A function without parameters is called and returns any of these. A worker runs with the settings of flags and
environment. A consumer has its settings already: flags that contradict them are refused, and the endpoint's port is set
for all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from pyrallel_consumer.cli.run.settings import RunSettings
from pyrallel_consumer.cli.run.worker_place import (
    check_for_command_line,
    find_object,
    find_worker,
    raised_by,
)
from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.worker.kind import Worker, name_of
from pyrallel_consumer.execution_plane.worker.lifespan import lifespan_of


class Program(NamedTuple):
    """A worker that fits its mode, and its lifespan."""

    worker: Worker
    lifespan: Any


class FlagsRefusedError(ConfigurationError):
    """Flags stand for settings that ``consumers`` have already."""

    def __init__(self, message: str, consumers: list[PyrallelConsumer]) -> None:
        super().__init__(message)
        self.consumers = consumers


def found_program(settings: RunSettings) -> Program | list[PyrallelConsumer]:
    """The program to run: a worker, or at least one consumer.

    Raises ConfigurationError where the place names nothing that can run, or settings do not fit, and WorkerImportError
    where the user's code raises.
    """
    place = settings.worker()
    found = _made(find_worker(place, settings.run.app_dir), place)
    if _is_several(found) or isinstance(found, PyrallelConsumer):
        return _checked(found, place, settings)
    lifespan = None
    if settings.run.lifespan is not None:
        lifespan = find_object(settings.run.lifespan, settings.run.app_dir, "lifespan")
        lifespan_of(lifespan, None, settings.execution.mode)
    check_for_command_line(found, settings.execution)
    return Program(found, lifespan)


def found_consumers(settings: RunSettings) -> list[PyrallelConsumer]:
    """The consumers to run, at least one; none is started. Raises what ``found_program`` raises."""
    found = found_program(settings)
    if not isinstance(found, Program):
        return found
    topic, execution = settings.topic(), settings.execution
    return [PyrallelConsumer(settings.kafka, found.worker, topic, execution_config=execution, lifespan=found.lifespan)]


def _made(found: Any, place: str) -> Any:
    """The result of ``found`` if it is a function without parameters; else ``found`` itself."""
    if isinstance(found, type | PyrallelConsumer) or not callable(found) or not _takes_nothing(found):
        return found
    if inspect.iscoroutinefunction(found):
        raise ConfigurationError(
            f"{place} is `async def` without parameters: a worker takes one WorkItem, and what makes consumers is a "
            "plain function"
        )
    try:
        made = found()
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        # The user's function may raise anything, and end the program too; that is its fault and not ours.
        raise raised_by(error, f"calling {place}") from error
    if made is None:
        raise ConfigurationError(f"{place} takes no parameters, so it was called to make consumers, and returned None")
    return made


def _takes_nothing(function: Callable[..., Any]) -> bool:
    try:
        return not inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False  # Compiled functions may have no signature to look at.


def _is_several(found: object) -> bool:
    return isinstance(found, list | tuple)


def _checked(found: Any, place: str, settings: RunSettings) -> list[PyrallelConsumer]:
    consumers = [*found] if _is_several(found) else [found]
    if not consumers:
        raise ConfigurationError(f"{place} is an empty list: there is nothing to run")
    for number, each in enumerate(consumers, 1):
        if not isinstance(each, PyrallelConsumer):
            raise ConfigurationError(
                f"entry {number} of {place} is {name_of(each)}, no PyrallelConsumer: a list holds consumers, each of "
                "which has its worker and its topic"
            )
        if any(each is other for other in consumers[: number - 1]):
            raise ConfigurationError(f"entry {number} of {place} is there twice: a consumer runs once")
    flags = sorted(
        {
            origin.name
            for (part, field), origin in settings.origins.items()
            if origin.kind == "flag" and not _applies_to_consumers(part, field)
        }
    )
    if flags:
        raise FlagsRefusedError(
            f"{', '.join(flags)} cannot be given with {place}: it names consumers, which have their own settings",
            consumers,
        )
    if any(part is MetricsConfig and origin.kind == "flag" for (part, _), origin in settings.origins.items()):
        for consumer in consumers:
            consumer.config.metrics = settings.kafka.metrics.validate_all()
    return consumers


def _applies_to_consumers(part: type, field: str) -> bool:
    if part in {KafkaConfig, ExecutionConfig}:
        return part is KafkaConfig and field == "metrics"
    return field not in {"topic", "concurrency", "lifespan"}
