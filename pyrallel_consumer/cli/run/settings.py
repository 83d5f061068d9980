"""From flags, environment and ``.env`` to the settings of one run, and where each of them came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pyrallel_consumer.cli.run.config import RunConfig
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from pyrallel_consumer.config.environment import environment, named_variable
from pyrallel_consumer.config.likely_mistakes import likely_typos
from pyrallel_consumer.config.settings import Settings, SettingsError
from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import ConfigurationError

ALL: Final[tuple[type[Settings], ...]] = (
    RunConfig,
    KafkaConfig,
    ExecutionConfig,
    ParallelConsumerConfig,
    MetricsConfig,
)
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: a flag, a variable of the process, one of the file, or nowhere: the default."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


DEFAULT: Final = Origin("default")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings of one run. ``origins`` has their sources by class and field; a missing one is a default."""

    run: RunConfig
    kafka: KafkaConfig
    execution: ExecutionConfig
    origins: Mapping[tuple[type[Settings], str], Origin]

    def parts(self) -> tuple[Settings, ...]:
        return (self.run, self.kafka, self.execution, self.kafka.parallel_consumer, self.kafka.metrics)

    def origin(self, part: Settings, field: str) -> Origin:
        return self.origins.get((type(part), field), DEFAULT)

    def topic(self) -> str | list[str]:
        """The topic argument of PyrallelConsumer; raises ConfigurationError if none was named."""
        topics = self.run.topic
        if not topics:
            raise ConfigurationError("no topic: give --topic orders, or set PYRALLEL_TOPIC")
        return topics[0] if len(topics) == 1 else topics

    def worker(self) -> str:
        """The worker's place; raises ConfigurationError if none was named."""
        if self.run.worker is None:
            raise ConfigurationError("no worker: name it as package.module:function, or set PYRALLEL_WORKER")
        return self.run.worker


def settings_of(flags: Flags) -> RunSettings:
    """The effective settings: flags override the environment, which overrides ``.env``. Raises ConfigurationError."""
    origins = dict(_variables())
    given = _Given(origins)
    run = given.make(
        RunConfig,
        worker=("WORKER", flags.worker),
        lifespan=("--lifespan", flags.lifespan),
        topic=("--topic", list(flags.topics) or None),
        concurrency=("--concurrency", flags.concurrency),
        app_dir=("--app-dir", flags.app_dir),
        log_format=("--log-format", flags.log_format),
        log_level=("--log-level", flags.log_level),
        log_config=("--log-config", flags.log_config),
        burst=("--burst", flags.burst),
        fail_on_dead_letters=("--fail-on-dead-letters", flags.fail_on_dead_letters),
        consumers=("--consumers", flags.consumers),
        reload=("--reload", flags.reload),
        reload_dir=("--reload-dir", list(flags.reload_dirs) or None),
    )
    metrics = given.make(
        MetricsConfig,
        port=("--metrics-port", flags.metrics_port),
        enabled=("--metrics-port", None if flags.metrics_port is None else True),
    )
    kafka = given.make(
        KafkaConfig,
        bootstrap_servers=("--bootstrap-servers", flags.bootstrap_servers),
        consumer_group=("--group", flags.group),
        metrics=("", metrics),
    )
    execution = given.make(
        ExecutionConfig,
        mode=("--mode", flags.mode),
        max_attempts=("--max-attempts", flags.max_attempts),
    )
    if run.concurrency is not None:
        _apply_concurrency(execution, run.concurrency, origins)
    return RunSettings(run, kafka, execution, origins)


class _Given:
    """Builds settings from the given flags, and notes their origin."""

    def __init__(self, origins: dict[tuple[type[Settings], str], Origin]) -> None:
        self._origins = origins

    def make(self, cls: type[S], **flags: tuple[str, Any]) -> S:
        given = {field: (flag, value) for field, (flag, value) in flags.items() if value is not None}
        self._origins |= {(cls, field): Origin("flag", flag) for field, (flag, _) in given.items()}
        try:
            return cls(**{field: value for field, (_, value) in given.items()})
        except SettingsError as error:
            raise error.given_by({field: flag for field, (flag, _) in given.items()}) from None


def _apply_concurrency(
    execution: ExecutionConfig, concurrency: int, origins: dict[tuple[type[Settings], str], Origin]
) -> None:
    """Set the slots for async workers and actors; for others set threads or processes, and enough slots."""
    origin = origins[RunConfig, "concurrency"]
    changed = {"max_in_flight": concurrency}
    if execution.mode not in {ExecutionMode.ASYNC, ExecutionMode.RAY}:
        changed = {"worker_pool_size": concurrency}
        if execution.max_in_flight < concurrency:
            changed["max_in_flight"] = concurrency
    for field, value in changed.items():
        try:
            setattr(execution, field, value)
        except SettingsError as error:
            raise error.given_by({field: f"{origin.name} ({field})"}) from None
        origins[ExecutionConfig, field] = origin


def _variables() -> Iterator[tuple[tuple[type[Settings], str], Origin]]:
    variables = environment()
    for cls in ALL:
        for field in cls.model_fields:
            found = named_variable(variables, cls.variables_of(field))
            if found is not None:
                kind = "environment" if found.file is None else str(found.file)
                yield (cls, field), Origin(kind, found.name)


def typos() -> list[str]:
    """A sentence for every variable that looks like one of our settings but is none."""
    return likely_typos(ALL)
