"""Signals to ``run``: the first drains, the second aborts."""

from __future__ import annotations

import signal

from tests.integration.conftest import NewTopic, Produce
from tests.integration.run.runs import Runs


class TestSignals:
    """The first signal drains, the second aborts; a burst that was cut short fails."""

    def test_the_first_lets_running_work_finish_and_commits_it(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3") as running:
            running.until_said("running 2")
            running.send(signal.SIGTERM)
            running.until(lambda line: "SIGTERM: draining" in line, "draining")
            (runs.folder / "go-on").touch()

            assert running.exit_code() == 0
            assert any("3 messages processed" in line for line in running.said)
        assert runs.committed(topic) == [3]

    def test_the_second_aborts_with_its_number(self, runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3") as running:
            running.until_said("running 2")
            running.send(signal.SIGINT)
            running.until(lambda line: "SIGINT: draining" in line, "draining")
            running.send(signal.SIGINT)

            assert running.exit_code() == 128 + signal.SIGINT
        assert runs.committed(topic) == [0]

    def test_a_drain_that_is_cut_off_says_what_it_left_and_has_an_exit_code_of_its_own(
        self, runs: Runs, new_topic: NewTopic, produce: Produce
    ) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        runs.environment["EXECUTION_SHUTDOWN_DRAIN_TIMEOUT_MS"] = "100"
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3") as running:
            running.until_said("running 2")
            running.send(signal.SIGTERM)

            assert running.exit_code() == 3
            names = ", ".join(f"{topic}-0-{offset}" for offset in range(3))
            assert any(f"3 messages were cut off and will run again: {names}" in line for line in running.said)
            assert any("0 messages processed, 3 cut off unfinished" in line for line in running.said)
        assert runs.committed(topic) == [0]

    def test_a_burst_that_a_signal_cut_short_says_so(self, runs: Runs, new_topic: NewTopic, produce: Produce) -> None:
        topic = new_topic(1)
        produce(topic, 20)
        with runs.started("app:wait_for_the_end", "--topic", topic, "--concurrency", "3", "--burst") as running:
            running.until_said("running 2")
            running.send(signal.SIGTERM)
            running.until(lambda line: "draining" in line, "draining")
            (runs.folder / "go-on").touch()

            assert running.exit_code() == 128 + signal.SIGTERM
            assert any("did not come to its end" in line for line in running.said)
        assert runs.committed(topic) == [3]
