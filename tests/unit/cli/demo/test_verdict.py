"""The demo's verdict: exit code 0 only when every promise was kept."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from pyrallel_consumer.cli.demo.failures import Failures
from pyrallel_consumer.cli.demo.verdict import Stopped, Verdict, Visit

GOOD = Verdict(
    expected=1000,
    processed=1000,
    failed=0,
    order_violations=0,
    duplicates=0,
    lag=0,
    seconds=0.5,
    worker_seconds=0.005,
    visit=Visit(partitions=4, processed=200),
)


def test_a_run_that_kept_every_promise_ends_with_exit_code_0() -> None:
    assert (GOOD.exit_code, GOOD.is_ok) == (0, True)
    assert all(check.holds for check in GOOD.checks())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"processed": 999}, "999 of 1,000 orders processed"),
        ({"processed": 999, "failed": 1}, "999 of 1,000 orders processed, 1 failed"),
        ({"order_violations": 2}, "out of order: 2 ran before an earlier one of their customer had ended"),
        ({"duplicates": 3}, "3 ran a second time"),
        ({"lag": 4}, "committed 4 short of the log's end"),
        ({"visit": Visit(partitions=0, processed=0)}, "a second consumer came, held 0 partitions"),
    ],
)
def test_one_broken_promise_is_named_and_ends_with_exit_code_1(change: dict[str, Any], sentence: str) -> None:
    verdict = dataclasses.replace(GOOD, **change)

    broken = [check.sentence for check in verdict.checks() if not check.holds]
    assert len(broken) == 1
    assert broken[0].startswith(sentence)
    assert (verdict.exit_code, verdict.is_ok, verdict.headline) == (1, False, "A promise was broken.")


FAILURES = Failures(poisoned=30, fickle=20, retried=20, dead_lettered=30, second_letters=0, strange_letters=0)
FAILING = dataclasses.replace(GOOD, processed=970, failed=30, failures=FAILURES)


def test_a_run_in_which_orders_fail_is_good_when_each_was_processed_or_dead_lettered() -> None:
    assert (FAILING.exit_code, [check for check in FAILING.checks() if not check.holds]) == (0, [])
    assert FAILING.checks()[0].sentence == "970 orders processed and 30 dead-lettered, of 1,000"
    found = FAILING.to_json()
    assert (found["processed"], found["retried"], found["dead_lettered"]) == (970, 20, 30)


def test_a_letter_that_was_sent_twice_is_told_and_breaks_no_promise() -> None:
    verdict = dataclasses.replace(FAILING, failures=dataclasses.replace(FAILURES, second_letters=2))

    assert verdict.is_ok
    assert any("2 of them sent twice" in check.sentence for check in verdict.checks())


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"dead_lettered": 29}, ["29 dead-lettered", "29 of the 30 that always fail"]),
        ({"retried": 19}, ["19 of the 20 that fail once"]),
        ({"strange_letters": 1}, ["1 others have one"]),
    ],
)
def test_a_failure_that_is_not_accounted_for_ends_with_exit_code_1(change: dict[str, int], broken: list[str]) -> None:
    verdict = dataclasses.replace(FAILING, failures=dataclasses.replace(FAILURES, **change))

    sentences = [check.sentence for check in verdict.checks() if not check.holds]
    assert len(sentences) == len(broken)
    assert all(part in sentence for part, sentence in zip(broken, sentences, strict=True))
    assert verdict.exit_code == 1


def test_an_order_that_was_processed_and_dead_lettered_too_is_found_out() -> None:
    verdict = dataclasses.replace(FAILING, processed=971)

    assert verdict.exit_code == 1


def test_a_stopped_run_is_incomplete_whatever_it_found_so_far() -> None:
    verdict = dataclasses.replace(GOOD, stopped=Stopped("stopped by SIGINT", 130))

    assert (verdict.exit_code, verdict.is_ok) == (130, False)
    assert verdict.headline == "Incomplete: stopped by SIGINT"


def test_without_a_second_consumer_nothing_is_said_about_one() -> None:
    verdict = dataclasses.replace(GOOD, visit=None)

    assert verdict.is_ok
    assert not any("second" in check.sentence for check in verdict.checks())


def test_the_rate_is_compared_with_one_message_after_the_other() -> None:
    assert GOOD.messages_per_second == 2000
    assert GOOD.sequential_bound_per_second == 200
    assert GOOD.speed_up == 10
    assert GOOD.speed() == "2,000 orders/s over 0.5 s: 10 times the 200/s of one at a time"


def test_a_run_that_processed_nothing_has_a_rate_of_0() -> None:
    verdict = dataclasses.replace(GOOD, processed=0, seconds=0.0)

    assert (verdict.messages_per_second, verdict.exit_code) == (0.0, 1)


def test_the_json_object_holds_what_scripts_ask_for() -> None:
    found = json.loads(json.dumps(GOOD.to_json()))

    assert found == {
        "ok": True,
        "messages": 1000,
        "processed": 1000,
        "failed": 0,
        "retried": 0,
        "dead_lettered": 0,
        "order_violations": 0,
        "duplicates": 0,
        "committed_to_end": True,
        "seconds": 0.5,
        "messages_per_second": 2000.0,
        "sequential_bound_per_second": 200.0,
        "speed_up": 10.0,
        "second_consumer_partitions": 4,
        "second_consumer_processed": 200,
        "stopped_because": None,
    }
