"""Where ``inspect offsets reset`` moves a group, and what that costs."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pyrallel_consumer.cli import main
from pyrallel_consumer.cli.inspect.reset_plan import Partition, Target, document_of, moves_to, parse_target, rows_of
from pyrallel_consumer.dto import TopicPartition

TP = TopicPartition("orders", 3)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("earliest", Target(end="earliest")),
        (" latest ", Target(end="latest")),
        ("0", Target(offset=0)),
        ("1234567890", Target(offset=1_234_567_890)),
        ("1970-01-01T00:00:01.5Z", Target(timestamp_ms=1500)),
        ("1970-01-01T01:00:00+01:00", Target(timestamp_ms=0)),
    ],
)
def test_targets_are_ends_offsets_and_times(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "said"),
    [("beginning", "earliest, latest"), ("-5", "an offset"), ("", "a time"), ("2026-11-30T08:00:00", "no time zone")],
)
def test_what_is_no_target_is_refused_with_advice(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_target(text)


@pytest.mark.parametrize(
    ("target", "at_time", "offset", "is_cut"),
    [
        (Target(end="earliest"), None, 10, False),
        (Target(end="latest"), None, 100, False),
        (Target(offset=40), None, 40, False),
        (Target(offset=5), None, 10, True),
        (Target(offset=101), None, 100, True),
        (Target(offset=100), None, 100, False),
        (Target(timestamp_ms=1), 33, 33, False),
        (Target(timestamp_ms=1), None, 100, False),
    ],
)
def test_each_partition_moves_within_its_log(target: Target, at_time: int | None, offset: int, is_cut: bool) -> None:
    [move] = moves_to(target, [Partition(TP, 10, 100, 50, has_map=False, at_time=at_time)])

    assert (move.offset, move.is_cut) == (offset, is_cut)


def test_what_runs_again_and_what_is_passed_over_is_told() -> None:
    moves = moves_to(
        Target(offset=40),
        [Partition(TP, 10, 100, 50, True), Partition(TP, 0, 100, 30, False), Partition(TP, 5, 90, None, False)],
    )

    assert rows_of(moves)[1:] == [
        ("3", "50", "40", "10", "0", "60"),
        ("3", "30", "40", "0", "10", "60"),
        ("3", "never", "40", "0", "35", "50"),
    ]
    document = document_of("g", "orders", moves[:1], is_dry_run=True)
    assert document["partitions"] == [
        {
            "partition": 3,
            "committed_offset": 50,
            "new_offset": 40,
            "runs_again": 10,
            "passed_over": 0,
            "is_cut": False,
            "map_dropped": True,
        }
    ]
    assert document["dry_run"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--group", "", "--topic", "t", "--to", "latest"], "--group"),
        (["--group", "g", "--topic", " ", "--to", "latest"], "--topic"),
        (["--group", "g", "--topic", "t", "--to", "soon"], "--to"),
        (["--group", "g", "--topic", "t"], "--to"),
        (["--group", "g", "--topic", "t", "--to", "0", "--partition", "-1"], "--partition"),
        (["--group", "g", "--topic", "t", "--to", "0", "--bootstrap-servers", "a:b:c"], "--bootstrap-servers"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["inspect", "offsets", "reset", *arguments])

    assert done.exit_code == 2
    assert said in done.output


def test_the_shell_can_complete_commands() -> None:
    environment = {
        "_PYRALLEL_CONSUMER_COMPLETE": "complete_bash",
        "COMP_WORDS": "pyrallel-consumer inspect off",
        "COMP_CWORD": "2",
    }
    done = CliRunner().invoke(main, [], env=environment, prog_name="pyrallel-consumer")

    assert done.output.split() == ["offsets"]
