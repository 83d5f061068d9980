"""The command line of the demo: help, version, and bad values refused by a sentence that names the option."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import pyrallel_consumer
from pyrallel_consumer.cli import main


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and everything printed, as one line: the sentences are broken to the terminal's width."""
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "200", "TERM": "dumb", **environment})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_help_names_every_option_of_the_demo() -> None:
    code, text = run("demo", "--help")

    assert code == 0
    for option in (
        "--messages",
        "--keys",
        "--partitions",
        "--worker-ms",
        "--fail-rate",
        "--bootstrap-servers",
        "--seed",
        "--json",
    ):
        assert option in text


def test_the_version_is_printed() -> None:
    code, text = run("--version")

    assert code == 0
    assert text.startswith(f"pyrallel-consumer {pyrallel_consumer.__version__}")


def test_without_a_command_the_help_is_shown() -> None:
    _, text = run()

    assert "demo" in text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--messages", "0"),
        ("--messages", "many"),
        ("--keys", "-1"),
        ("--partitions", "0"),
        ("--worker-ms", "0"),
        ("--worker-ms", "nan"),
        ("--worker-ms", "1000000"),
        ("--fail-rate", "-0.1"),
        ("--fail-rate", "0.6"),
        ("--fail-rate", "nan"),
        ("--seed", "one"),
        ("--bootstrap-servers", "localhost:port"),
        ("--bootstrap-servers", ""),
    ],
)
def test_a_bad_value_is_refused_with_exit_code_2_and_names_its_option(option: str, value: str) -> None:
    code, text = run("demo", option, value)

    assert code == 2
    assert f"Invalid value for '{option}'" in text


def test_a_bad_setting_of_the_environment_is_not_blamed_on_an_option() -> None:
    code, text = run("demo", "--bootstrap-servers", "localhost:9092", KAFKA_SESSION_TIMEOUT_MS="soon")

    assert code == 2
    assert "KAFKA_SESSION_TIMEOUT_MS" in text
    assert "--bootstrap-servers" not in text


def test_an_unknown_option_is_refused() -> None:
    code, text = run("demo", "--colour", "red")

    assert code == 2
    assert "--colour" in text


def test_the_command_line_starts_without_loading_the_client_or_the_settings() -> None:
    program = (
        "import sys, pyrallel_consumer.cli; "
        "print(*sorted({'confluent_kafka', 'pydantic', 'pydantic_settings'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert loaded.stdout.split() == []
