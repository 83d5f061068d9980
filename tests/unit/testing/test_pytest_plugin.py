"""The library's pytest fixtures: they exist where they are requested, and cost nothing elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.unit.test_public_names import HEAVY_MODULES, modules_after

TESTS = """
import pytest
from pyrallel_consumer import EmbeddedBroker

topics = set()


async def worker(item):
    int(item.value)


def test_a_kit_is_made_and_closed_afterwards(pyrallel_kit):
    kit = pyrallel_kit(worker, topic="numbers")
    kit.run(kit.send(b"1"))
    kit.assert_processed(b"1")


def test_a_failed_assertion_shows_the_ledger(pyrallel_kit):
    kit = pyrallel_kit(worker)
    kit.run(kit.send(b"x"))
    kit.assert_processed()


@pytest.mark.parametrize("number", [1, 2])
def test_a_kafka_is_there_with_topics_of_the_tests_own(trial_kafka, number):
    topic = trial_kafka.topic("numbers", [(None, b"%d" % number)])
    assert topic not in topics
    topics.add(topic)
    assert [each.value for each in trial_kafka.records(topic)] == [b"%d" % number]
"""


def test_the_plugin_loads_nothing_of_the_library() -> None:
    loaded = modules_after("import pyrallel_consumer.testing.pytest_plugin") - modules_after("import pytest")

    assert loaded.isdisjoint(HEAVY_MODULES)
    assert {name for name in loaded if name.startswith("pyrallel_consumer")} == {
        "pyrallel_consumer",
        "pyrallel_consumer.release",
        "pyrallel_consumer.testing",
        "pyrallel_consumer.testing.pytest_plugin",
    }


def test_pytest_finds_the_fixtures(tmp_path: Path) -> None:
    tests = tmp_path / "test_numbers.py"
    tests.write_text(TESTS, "utf-8")

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", tests],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "1 failed" in ran.stdout
    assert "1 of 1 messages are not processed" in ran.stdout
    assert "consumer_kit.py" not in ran.stdout.partition("AssertionError")[0]
