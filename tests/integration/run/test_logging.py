"""What ``run`` logs, and where."""

from __future__ import annotations

import pytest

from tests.integration.conftest import NewTopic, Produce
from tests.integration.run.runs import Runs
from tests.integration.run.shop import logged

LOG_CONFIGS = {
    "logging.json": """{
        "formatters": {"mine": {"format": "MINE %(message)s"}},
        "handlers": {"all": {"class": "logging.StreamHandler", "formatter": "mine"}},
        "root": {"handlers": ["all"], "level": "INFO"}
    }""",
    "logging.toml": """
        formatters.mine.format = "MINE %(message)s"
        handlers.all = {class = "logging.StreamHandler", formatter = "mine"}
        root = {handlers = ["all"], level = "INFO"}
    """,
    "logging.ini": "\n".join(
        (
            *("[loggers]", "keys=root", "[handlers]", "keys=all", "[formatters]", "keys=mine"),
            *("[formatter_mine]", "format=MINE %(message)s"),
            *("[handler_all]", "class=StreamHandler", "args=()", "formatter=mine"),
            *("[logger_root]", "handlers=all", "level=INFO"),
        )
    ),
}


class TestLogging:
    """Who sets up logging: the worker's module, a file, or ``run``."""

    def test_what_the_worker_s_module_has_set_up_is_left_alone(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 1)
        setup = "import logging\nlogging.basicConfig(format='MINE %(message)s', level='INFO')\nfrom app import handle\n"
        (runs.folder / "logs.py").write_text(setup)

        done = runs.done("logs:handle", "--topic", topic, "--burst", "--log-format", "json")

        assert done.returncode == 0, done.stderr
        assert {line.split()[0] for line in done.stderr.splitlines()} == {"MINE"}

    @pytest.mark.parametrize(("name", "text"), LOG_CONFIGS.items())
    def test_a_file_says_what_is_logged_where(
        self, runs: Runs, new_topic: NewTopic, produce: Produce, name: str, text: str
    ) -> None:
        topic = new_topic(1)
        produce(topic, 1)
        (runs.folder / name).write_text(text)

        done = runs.done("app:handle", "--topic", topic, "--burst", "--log-config", name)

        assert done.returncode == 0, done.stderr
        assert {line.split()[0] for line in done.stderr.splitlines()} == {"MINE"}

    def test_a_file_that_does_not_fit_is_2_and_says_why(self, runs: Runs) -> None:
        (runs.folder / "logging.json").write_text('{"handlers": {"all": {"class": "logging.NoSuchHandler"}}}')

        done = runs.done("app:handle", "--topic", "orders", "--log-config", "logging.json")

        assert done.returncode == 2
        assert "--log-config logging.json does not fit" in done.stderr
        assert "NoSuchHandler" in done.stderr
        assert "Traceback" not in done.stderr

    def test_the_error_that_ends_a_run_is_a_line_of_json_too(self, runs: Runs) -> None:
        done = runs.done("app:handle", "--topic", "nowhere", "--log-format", "json")

        assert done.returncode == 1
        last = logged(done.stderr)[-1]
        assert last["level"] == "error"
        assert last["error"].startswith("UnknownTopicError: topic 'nowhere' does not exist")

    def test_a_typo_in_the_environment_is_told_at_the_start(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 1)

        done = runs.done("app:handle", "--topic", topic, "--burst", KAFKA_CONSUMER_GROPU="x", PYRALLEL_BRUST="1")

        assert done.returncode == 0, done.stderr
        assert done.stderr.count("did you mean KAFKA_CONSUMER_GROUP?") == 1
        assert done.stderr.count("did you mean PYRALLEL_BURST?") == 1
