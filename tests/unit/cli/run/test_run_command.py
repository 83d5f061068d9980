"""The command line of ``run`` and ``config``: help, refusals, effective settings; nothing here needs a broker."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyrallel_consumer.cli import main
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.run.supervisors.reload import arguments_of
from pyrallel_consumer.config.settings import Settings

NOBODY = {"KAFKA_BOOTSTRAP_SERVERS": "", "KAFKA_CONSUMER_GROUP": "", "EXECUTION_MODE": "", "COLUMNS": "100"}


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments, env=NOBODY | environment)
    return result.exit_code, result.output


def test_help_names_every_flag_and_its_variable_in_full() -> None:
    code, text = run("run", "--help")

    assert code == 0
    flags = dict(re.findall(r"^  (--[a-z-]+)(.*?\([A-Z_ and]+\))$", text, flags=re.MULTILINE | re.DOTALL))
    for cls in Settings.__subclasses__():
        if cls.__name__ == "RunConfig":
            for field in set(cls.model_fields) - {"worker"}:
                assert f"(PYRALLEL_{field.upper()})" in flags[f"--{field.replace('_', '-')}"]
    for variable in ("PYRALLEL_WORKER", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CONSUMER_GROUP", "EXECUTION_MODE"):
        assert f"({variable})" in text
    assert re.search(r"130 +aborted", text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "PYRALLEL_WORKER"),
        (("run", "json:dumps", "--mode", "thread"), "PYRALLEL_TOPIC"),
        (("run", "--topic", "orders"), "PYRALLEL_WORKER"),
        (("run", "app", "--topic", "orders"), "package.module:function"),
        (("run", "no_such:handle", "--topic", "orders"), "no module 'no_such'"),
        (("run", "json:dumps", "--topic", "orders", "--mode", "fast"), "--mode"),
        (("run", "json:dumps", "--topic", "orders", "--concurrency", "0"), "Error: --concurrency: "),
        (("run", "json:dumps", "--topic", "a b", "--mode", "thread"), "'a b'"),
        (("run", "json:dumps", "--topic", "orders"), "--mode thread or --mode process"),
        (("run", "json:dumps", "--topic", "orders", "--metrics-port", "99999"), "Error: --metrics-port: "),
        (("run", "json:dumps", "--topic", "orders", "--group", ""), "Error: --group: "),
        (
            ("run", "json:dumps", "--topic", "orders", "--mode", "thread", "--concurrency", "5000"),
            "--concurrency (worker_pool_size): ",
        ),
        (("run", "json:dumps", "--topic", "orders", "--log-config", "none.json"), "--log-config none.json"),
        (
            ("run", "json:dumps", "--topic", "orders", "--log-config", "logging.ini", "--log-level", "debug"),
            "--log-level and --log-config",
        ),
        (("run", "json:dumps", "--topic", "orders", "--reload", "--burst"), "--reload and --burst"),
        pytest.param(
            ("run", "json:dumps", "--topic", "orders", "--reload", "--reload-dir", "none"),
            "--reload-dir none",
            marks=pytest.mark.skipif(find_spec("watchfiles") is None, reason="the extra `reload` is not installed"),
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_2_and_a_sentence_that_says_what_to_do(
    arguments: tuple[str, ...], said: str
) -> None:
    Path("logging.ini").write_text("[loggers]\nkeys=root\n")
    code, text = run(*arguments)

    assert code == 2
    assert said in text
    assert "Traceback" not in text


def test_a_worker_whose_module_raises_is_1_with_its_own_traceback(tmp_path: Path) -> None:
    (tmp_path / "raises_at_import.py").write_text("raise RuntimeError('no database')\n")

    code, text = run("run", "raises_at_import:handle", "--topic", "orders")

    assert code == 1
    assert "RuntimeError: no database" in text
    assert "pyrallel_consumer" not in text
    assert text.splitlines()[-1] == "Error: importing raises_at_import:handle failed: its own code raises, see above"


def as_json(*arguments: str, **environment: str) -> dict[str, Any]:
    code, text = run("config", "--json", *arguments, **environment)
    assert code == 0
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


class TestConfig:
    """``config``: every setting, its value, its source, and no secret."""

    def test_every_setting_is_there_once_with_its_source(self) -> None:
        Path(".env").write_text("EXECUTION_MAX_RETRIES=5\n")

        found = as_json("--group", "mine", PARALLEL_CONSUMER_RETRY_JITTER_MS="0")["settings"]

        assert found["KafkaConfig"]["consumer_group"] == {
            "value": "mine",
            "source": "flag",
            "name": "--group",
            "variable": "KAFKA_CONSUMER_GROUP",
        }
        execution = found["ExecutionConfig"]
        assert (execution["max_attempts"]["value"], execution["max_attempts"]["source"]) == (5, ".env")
        assert execution["retry_jitter_ms"]["source"] == "environment"
        assert execution["retry_jitter_ms"]["name"] == "PARALLEL_CONSUMER_RETRY_JITTER_MS"
        assert execution["mode"] == {"value": "async", "source": "default", "name": None, "variable": "EXECUTION_MODE"}
        listed = {cls: set(fields) for cls, fields in found.items()}
        for cls in Settings.__subclasses__():
            nested = {"metrics", "parallel_consumer"} if cls.__name__ == "KafkaConfig" else set()
            assert listed.get(cls.__name__, set(cls.model_fields)) == set(cls.model_fields) - nested

    def test_secrets_are_hidden_in_both_forms(self) -> None:
        secret = {
            "KAFKA_SASL_PASSWORD": "hunter2",
            "KAFKA_SSL_KEY_PASSWORD": "hunter2",
            "KAFKA_LIBRDKAFKA": (
                '{"sasl.oauthbearer.client.secret": "hunter2", "unheard.of": "hunter2", "client.id": "shop"}'
            ),
        }
        code, text = run("config", **secret)

        assert code == 0
        assert "hunter2" not in text
        assert re.search(r"KAFKA_SASL_PASSWORD +\*+ +environment", text)
        assert re.search(r'KAFKA_LIBRDKAFKA +.*"unheard.of": "\*+", "client.id": "shop".* +environment', text)
        assert "hunter2" not in json.dumps(as_json(**secret))
        assert as_json()["settings"]["KafkaConfig"]["sasl_password"]["value"] is None

    def test_the_table_says_where_a_setting_answers_to_another_name(self) -> None:
        _, text = run("config", "--concurrency", "7", PARALLEL_CONSUMER_MAX_RETRIES="4")

        assert re.search(r"EXECUTION_MAX_ATTEMPTS +4 +environment PARALLEL_CONSUMER_MAX_RETRIES$", text, re.MULTILINE)
        assert re.search(r"EXECUTION_MAX_IN_FLIGHT +7 +flag --concurrency$", text, re.MULTILINE)
        assert re.search(r"KAFKA_AUTO_OFFSET_RESET +earliest +default$", text, re.MULTILINE)

    def test_a_typo_is_a_warning_and_a_bad_value_is_2(self) -> None:
        assert as_json(KAFKA_CONSUMER_GRUP="x")["warnings"] == [
            "KAFKA_CONSUMER_GRUP is set and is not a setting; did you mean KAFKA_CONSUMER_GROUP?"
        ]
        code, text = run("config", EXECUTION_MAX_RETRIES="none")
        assert code == 2
        assert "EXECUTION_MAX_RETRIES" in text


def test_a_reloaded_run_gets_the_flags_of_the_one_that_watches() -> None:
    flags = Flags(
        worker="app:handle",
        topics=("orders", "bills"),
        bootstrap_servers="localhost:9092",
        group="-mine",
        mode="thread",
        concurrency=3,
        metrics_port=0,
        app_dir="src",
        log_format="json",
        log_level="debug",
        log_config="logging.ini",
        fail_on_dead_letters=True,
        reload=True,
        reload_dirs=("src",),
    )

    assert arguments_of(flags) == [
        *("--topic=orders", "--topic=bills", "--bootstrap-servers=localhost:9092", "--group=-mine", "--mode=thread"),
        *("--concurrency=3", "--metrics-port=0", "--app-dir=src", "--log-format=json", "--log-level=debug"),
        *("--log-config=logging.ini", "--fail-on-dead-letters"),
        *("--no-burst", "--no-reload", "--consumers=1", "--", "app:handle"),
    ]
    assert arguments_of(Flags(reload=True)) == ["--no-burst", "--no-reload", "--consumers=1"]
    assert arguments_of(Flags(burst=True), is_member=True, is_burst=True)[0] == "--burst"
