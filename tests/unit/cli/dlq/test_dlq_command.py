"""The command line of the dead letters: help, and bad values refused by a sentence that names the option."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pyrallel_consumer.cli import main


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and everything printed, as one line."""
    result = CliRunner().invoke(main, ("dlq", *arguments), env={"COLUMNS": "200", "TERM": "dumb", **environment})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_help_names_the_three_commands_and_every_option_of_a_replay() -> None:
    code, text = run("--help")
    assert code == 0
    assert [name for name in ("list", "show", "replay") if name not in text] == []
    _, text = run("replay", "--help")
    options = (
        *("--topic", "--dlq-topic", "--bootstrap-servers", "--group", "--replay-group", "--filter"),
        *("--allow-topic", "--max-replays", "--rate", "--limit", "--dry-run", "--json"),
    )
    assert [option for option in options if option not in text] == []


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("replay",), "--topic"),
        (("show", "--partition", "0", "--offset", "0"), "--topic"),
        (("replay", "--topic", "a", "--dlq-topic", "b"), "--dlq-topic"),
        (("replay", "--topic", ""), "--topic"),
        (("list", "--group", " "), "--group"),
        (("list", "--letters", "--limit", "0"), "--limit"),
        (("replay", "--topic", "a", "--replay-group", ""), "--replay-group"),
        (("replay", "--topic", "a", "--allow-topic", ""), "--allow-topic"),
        (("replay", "--topic", "a", "--filter", "reason=x"), "--filter"),
        (("replay", "--topic", "a", "--rate", "0"), "--rate"),
        (("replay", "--topic", "a", "--rate", "inf"), "--rate"),
        (("replay", "--topic", "a", "--rate", "nan"), "--rate"),
        (("replay", "--topic", "a", "--limit", "0"), "--limit"),
        (("replay", "--topic", "a", "--max-replays", "0"), "--max-replays"),
        (("show", "--topic", "a", "--partition", "-1", "--offset", "0"), "--partition"),
        (("list", "--bootstrap-servers", "localhost:port"), "--bootstrap-servers"),
    ],
)
def test_a_bad_value_is_refused_with_exit_code_2_and_names_its_option(arguments: tuple[str, ...], option: str) -> None:
    code, text = run(*arguments)

    assert code == 2
    assert f"Invalid value for '{option}'" in text


def test_a_bad_setting_of_the_environment_is_named() -> None:
    code, text = run("list", "--bootstrap-servers", "localhost:9092", KAFKA_SESSION_TIMEOUT_MS="soon")

    assert code == 2
    assert "KAFKA_SESSION_TIMEOUT_MS" in text
