"""``run --check``: everything that is wrong is told at once, and nothing is consumed."""

from __future__ import annotations

import json
import re

from pyrallel_consumer import EmbeddedBroker
from tests.integration.conftest import NewTopic, Produce
from tests.integration.run.runs import Runs


class TestCheck:
    """``--check``: a table of everything that a run needs, and an exit code that says who has to act."""

    def test_everything_there_is_0_and_nothing_is_consumed(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(3)
        produce(topic, 30, partitions=3)

        done = runs.done("app:handle", "--topic", topic, "--check")

        assert (done.returncode, done.stderr) == (0, "")
        found = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
        assert [words[:2] for words in found] == [
            ["ok", "settings"],
            ["ok", "worker"],
            ["ok", "broker"],
            ["ok", "protocol"],
            ["ok", "topic"],
            ["ok", "group"],
            ["warning", "dead"],
        ]
        assert found[3][2].startswith("classic: heartbeat.interval.ms, session.timeout.ms are set")
        assert found[4][2] == f"{topic}: 3 partitions"
        assert "nothing yet; it begins at the earliest offset; 30 messages to do" in found[5][2]
        assert f"{topic}.dlq: not there" in found[6][2]
        assert runs.committed(topic, 3) == [0, 0, 0]

    def test_the_group_protocol_that_would_be_chosen_is_told(self, runs: Runs) -> None:
        def told(broker: EmbeddedBroker, protocol: str) -> str:
            where = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "KAFKA_LIBRDKAFKA": ""}
            done = runs.done("app:handle", "--topic", "orders", "--check", KAFKA_GROUP_PROTOCOL=protocol, **where)
            return next(line for line in done.stdout.splitlines() if " protocol " in line)

        with EmbeddedBroker({"orders": 1}) as broker:
            assert re.fullmatch(r"ok +protocol +consumer *", told(broker, ""))
            broker.withdraw("consumer_group_heartbeat")
            assert re.match(r"ok +protocol +classic: a broker does not have consumer", told(broker, "auto"))
            assert re.fullmatch(r"ok +protocol +classic *", told(broker, "classic"))
            assert re.match(r"error +protocol +.*no broker has it", told(broker, "consumer"))

    def test_all_that_is_wrong_is_told_at_once(self, runs: Runs, new_topic: NewTopic) -> None:
        topic = new_topic(1)
        (runs.folder / "bad.py").write_text("import json\n\n\ndef lost():\n    return {}['x']\n\n\nlost()\n")

        done = runs.done(
            *("bad:handle", "--topic", topic, "--topic", "nowhere", "--check", "--log-format", "json"),
            KAFKA_CONSUMER_GRUP="x",
        )

        assert (done.returncode, done.stderr) == (1, "")
        found = json.loads(done.stdout)
        assert found["ok"] is False
        verdicts = {(each["subject"], each["verdict"]) for each in found["findings"]}
        assert verdicts >= {("settings", "warning"), ("worker", "failed"), ("topic", "ok"), ("topic", "failed")}
        assert "did you mean KAFKA_CONSUMER_GROUP?" in done.stdout
        [worker] = [each for each in found["findings"] if each["subject"] == "worker"]
        frames = [line.strip() for line in worker["traceback"].splitlines() if line.strip().startswith("File")]
        assert [frame.split(", ")[0] for frame in frames] == [f'File "{runs.folder / "bad.py"}"'] * 2

    def test_an_initializer_that_fails_is_found(self, runs: Runs, new_topic: NewTopic) -> None:
        (runs.folder / "setup.py").write_text("def connect():\n    raise OSError('no database')\n")

        done = runs.done(
            *("app:block", "--topic", new_topic(1), "--mode", "process", "--check"),
            EXECUTION_INITIALIZER="setup:connect",
        )

        assert done.returncode != 0
        assert "no database" in done.stdout
        assert "Traceback" not in done.stderr

    def test_the_group_that_nobody_named_is_a_finding(self, runs: Runs, new_topic: NewTopic) -> None:
        done = runs.done("app:handle", "--topic", new_topic(1), "--check", KAFKA_CONSUMER_GROUP="")

        assert done.returncode == 0
        assert re.search(r"^warning +group +.*KAFKA_CONSUMER_GROUP", done.stdout, re.MULTILINE)

    def test_a_worker_that_does_not_fit_is_2_also_where_the_broker_is_away(self, runs: Runs) -> None:
        done = runs.done("app:block", "--topic", "orders", "--check", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")

        assert (done.returncode, done.stderr) == (2, "")
        assert "Connection refused" in done.stdout
        assert "--mode thread or --mode process" in done.stdout
