"""What a replay says at its end, and when it counts as a success."""

from __future__ import annotations

import json

import pytest

from pyrallel_consumer.cli.dlq.outcome import Outcome


def outcome(**counts: int) -> Outcome:
    made = Outcome("orders.dlq", "orders.dlq.replay", is_dry_run=False)
    for name, count in counts.items():
        setattr(made, name, count)
    return made


@pytest.mark.parametrize(
    ("counts", "is_ok"),
    [
        ({"replayed": 3}, True),
        ({}, True),
        ({"not_selected": 2, "already_replayed": 1, "over_max_replays": 1}, True),
        ({"replayed": 3, "not_replayable": 1}, False),
        ({"failed": 1}, False),
        ({"uncommitted": 1}, False),
    ],
)
def test_only_letters_that_were_asked_for_and_did_not_go_make_it_fail(counts: dict[str, int], is_ok: bool) -> None:
    assert outcome(**counts).is_ok is is_ok


def test_every_count_that_is_not_0_has_its_sentence() -> None:
    made = outcome(replayed=1234, already_replayed=2, not_selected=3, over_max_replays=4, failed=1, uncommitted=6)
    made.replayed_to.update({"orders": 1234})
    made.name("orders.dlq[0]@5", "too large")
    made.next_offsets = {1: 40, 0: 7}

    assert made.sentences() == [
        "orders.dlq[0]@5 stays: too large",
        "1,234 replayed (1,234 to orders)",
        "2 were replayed before",
        "3 not selected by the filter",
        "4 skipped: replayed --max-replays times already",
        "1 refused by the broker",
        "6 arrived, but that could not be committed: they would be sent again",
        "group orders.dlq.replay stands at (partition: offset) 0: 7, 1: 40",
    ]


def test_letters_that_stay_are_named_up_to_a_bound_and_the_rest_counted() -> None:
    made = outcome(not_replayable=8)
    for offset in range(8):
        made.name(f"orders.dlq[0]@{offset}", "no payload")

    sentences = made.sentences()
    assert sentences[4:7] == ["orders.dlq[0]@4 stays: no payload", "and 3 more", "0 replayed"]


def test_a_stopped_replay_says_what_it_left() -> None:
    made = outcome(not_read=10, not_sent=2)
    made.stopped_because = "SIGINT"
    made.next_offsets = {0: 7}

    assert "stopped: SIGINT; 10 offsets of orders.dlq were not read, 2 letters not sent" in made.sentences()
    assert made.sentences()[-1].endswith("0: 7; the same command goes on from there")


def test_a_dry_run_says_what_would_be_and_no_place_to_go_on_from() -> None:
    made = Outcome("orders.dlq", "group", is_dry_run=True, replayed=2, next_offsets={0: 0})

    assert made.sentences() == ["2 would be replayed"]
    assert json.loads(json.dumps(made.to_json()))["dry_run"] is True
