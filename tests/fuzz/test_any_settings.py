"""Arbitrary text in the environment or in ``.env`` gives settings, or one error that names the setting, no secret."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.errors import ConfigurationError

PREFIXES = ("KAFKA_", "METRICS_", "EXECUTION_", "PARALLEL_CONSUMER_", "OUTPUT_", "RAY_")
CLASSES: tuple[type[Settings], ...] = (KafkaConfig, ExecutionConfig, MetricsConfig, ParallelConsumerConfig)
NAMES = sorted(
    f"{each.environment_prefixes[0]}{name}".upper()
    for each in CLASSES
    for name, field in each.model_fields.items()
    if not (isinstance(field.annotation, type) and issubclass(field.annotation, Settings))
)
CANARY = "canary-5a1f"
# What the operating system lets stand in an environment: no NUL, no lone surrogate.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
numbers = st.one_of(st.integers(), st.floats()).map(str)
values = st.one_of(texts, numbers, st.sampled_from(["true", "[]", "{}", '{"a": 1}', "1e999", "0x10", " # x", "'", "²"]))


@contextmanager
def surroundings(folder: Path, variables: dict[str, str], file: bytes | None = None) -> Iterator[None]:
    """These variables and this ``.env``, and no other settings of the library."""
    before, where = dict(os.environ), Path.cwd()
    for name in before:
        if name.startswith(PREFIXES):
            del os.environ[name]
    os.environ.update(variables)
    env_file = folder / ".env"
    env_file.unlink(missing_ok=True)
    if file is not None:
        env_file.write_bytes(file)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)


def built() -> list[str]:
    """For each class: its settings as text, or the error of building it."""
    said = []
    for each in CLASSES:
        try:
            said.append(repr(each()))
        except ConfigurationError as error:
            said.append(str(error))
    return said


fuzzed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@fuzzed
@given(variables=st.dictionaries(st.sampled_from(NAMES), values, max_size=4))
@example(variables={"KAFKA_LIBRDKAFKA": "[" * 100_000})
@example(variables={"KAFKA_LIBRDKAFKA": '{"a": ' + "9" * 5_000 + "}"})
@example(variables={"EXECUTION_MAX_IN_FLIGHT": "9" * 5_000})
@example(variables={"METRICS_PORT": "٣٣"})
def test_values_of_any_kind_make_settings_or_a_configuration_error(tmp_path: Path, variables: dict[str, str]) -> None:
    with surroundings(tmp_path, variables):
        assert all(built())


@fuzzed
@given(file=st.one_of(st.binary(max_size=200), texts.map(str.encode)))
@example(file=b"KAFKA_CONSUMER_GROUP='unclosed\nMETRICS_PORT=9\n")
@example(file=b"\xff\xfeK\0A\0")
@example(file=b"export =\n=\n==\n${A}\nA=${A}\n")
@pytest.mark.filterwarnings("ignore")  # python-dotenv warns of lines that it cannot read
def test_a_file_of_any_bytes_makes_settings_or_a_configuration_error(tmp_path: Path, file: bytes) -> None:
    with surroundings(tmp_path, {}, file):
        assert all(built())


@fuzzed
@given(before=texts, after=texts, name=st.sampled_from(["KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD"]))
def test_a_secret_is_never_told_whatever_surrounds_it(tmp_path: Path, before: str, after: str, name: str) -> None:
    with surroundings(tmp_path, {name: f"{before}{CANARY}{after}"}):
        assert not any(CANARY in said for said in built())


@fuzzed
@given(before=texts, after=texts)
@example(before='{"sasl.password": "', after='"}')
@example(before='{"sasl.password": "', after="")
@example(before='{"sasl.password": ["', after='"]}')
@example(before="", after="")
def test_a_mapping_that_is_no_mapping_tells_nothing_of_what_it_holds(tmp_path: Path, before: str, after: str) -> None:
    with surroundings(tmp_path, {"KAFKA_LIBRDKAFKA": f"{before}{CANARY}{after}"}):
        assert not any(CANARY in said for said in built())
