"""Probable mistakes of the user: variables with a typo in their name, and a group that has the default name.

They are warnings, because the settings are valid. Each sentence is logged once per process, however many consumers
start. Variables of other programs are ignored: a name counts as a typo if it begins like our settings and is nearly one
of them, or if it is another Kafka client's name of a setting that is not set here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from pyrallel_consumer.config.environment import Variable, environment, named_variable
from pyrallel_consumer.config.settings import NAMES_ELSEWHERE, Settings
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer")

ALIKE: Final = 0.9
"""How similar a variable and a setting must be, 0-1, for the variable to count as a typo."""
CLASSES: Final = (KafkaConfig, ExecutionConfig, ParallelConsumerConfig, MetricsConfig)
DEFAULT_GROUP: Final[str] = KafkaConfig.model_fields["consumer_group"].default

_told: set[str] = set()


def likely_typos(classes: Iterable[type[Settings]]) -> list[str]:
    """A sentence for every variable that looks like a setting of these classes but is none, sorted by its name."""
    classes = tuple(classes)
    names = {name for cls in classes for field in cls.model_fields for rank in cls.variables_of(field) for name in rank}
    prefixes = tuple(prefix for cls in classes for prefix in cls.environment_prefixes)
    variables = environment()
    foreign = dict(_names_of_other_clients(classes, variables))
    sentences = []
    for name, variable in sorted(variables.items()):
        if name in names or not name.startswith(prefixes):
            continue
        meant = get_close_matches(name, names, n=1, cutoff=ALIKE) or foreign.get(name, [])
        if meant:
            place = "" if variable.file is None else f" in {variable.file}"
            sentences.append(f"{variable.name}{place} is set and is not a setting; did you mean {meant[0]}?")
    return sentences


def default_group_warning(config: KafkaConfig) -> str | None:
    """The sentence about the group if it has the default name, else None."""
    if config.consumer_group != DEFAULT_GROUP:
        return None
    return (
        f"the consumer group is {DEFAULT_GROUP!r}, the default: every service that leaves it so joins the same group "
        "and takes messages from the others; set KafkaConfig.consumer_group (environment: KAFKA_CONSUMER_GROUP)"
    )


def warn_of_settings(config: KafkaConfig) -> None:
    """Log probable mistakes when a consumer starts. Reads the environment and ``.env``."""
    warn_of_typos(CLASSES)
    if (sentence := default_group_warning(config)) is not None:
        _tell_once(sentence)


def warn_of_typos(classes: Iterable[type[Settings]]) -> None:
    """Log the likely typos in the names of these classes' variables."""
    for sentence in likely_typos(classes):
        _tell_once(sentence)


def _tell_once(sentence: str) -> None:
    if sentence not in _told:
        _told.add(sentence)
        logger.warning("%s", sentence)


def _names_of_other_clients(
    classes: Iterable[type[Settings]], variables: dict[str, Variable]
) -> Iterator[tuple[str, list[str]]]:
    """The names in other clients of our settings, with our names, for settings that are not set."""
    for cls in classes:
        for foreign, field in NAMES_ELSEWHERE.items():
            if field in cls.model_fields and named_variable(variables, cls.variables_of(field)) is None:
                for prefix in cls.environment_prefixes:
                    yield f"{prefix}{foreign}".upper(), [f"{cls.environment_prefixes[0]}{field}".upper()]
