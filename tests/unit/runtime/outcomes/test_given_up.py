"""Each message that is given up is named in the log: by a line, or, if there are very many, by ranges in time."""

from __future__ import annotations

import re

import pytest

from pyrallel_consumer.dto import OnExhausted
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import PoisonKeyError
from pyrallel_consumer.runtime.outcomes.given_up import INTERVAL_SECONDS, MOST_LINES, MOST_RANGES, GivenUp
from pyrallel_consumer.testing.engine_contract.touchy_errors import TOUCHY_ERRORS
from pyrallel_consumer.testing.messages import work_item


def give_up(given_up: GivenUp, offsets: range, now: float = 0.0, outcome: OnExhausted = OnExhausted.SKIP) -> None:
    for offset in offsets:
        error = ValueError(f"invalid data {offset}")
        given_up.tell(work_item(topic="orders", partition=1, offset=offset), error, 3, outcome, now)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The first line of each of our records; asyncio may complain of what another test has left to be collected."""
    ours = [record for record in caplog.records if record.name.startswith("pyrallel_consumer")]
    return [record.getMessage().splitlines()[0] for record in ours]


def named(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Every offset that the log names, in order."""
    found: list[int] = []
    for line in lines(caplog):
        if line.startswith("orders-1-"):
            found.append(int(line.split()[0].rpartition("-")[2]))
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line.partition(": offsets ")[2]):
            found += range(int(first), int(last or first) + 1)
    return sorted(found)


def test_three_hundred_in_a_burst_are_all_told_and_the_first_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    give_up(GivenUp(ErrorText()), range(300))

    assert lines(caplog)[7] == (
        "orders-1-7 failed its last attempt, number 3: ValueError: invalid data 7; it is skipped and its offset counts "
        "as done (on_exhausted is skip)"
    )
    assert named(caplog) == list(range(300))
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 300
    assert [len(record.getMessage().splitlines()) > 1 for record in caplog.records] == [True] + [False] * 299
    assert caplog.records[7].__dict__["pyrallel_offset"] == 7


def test_above_the_bound_that_is_told_at_once_and_the_rest_is_named_together_before_it_is_committed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given_up = GivenUp(ErrorText())
    give_up(given_up, range(MOST_LINES + 500))
    assert len(caplog.records) == MOST_LINES + 1
    assert lines(caplog)[-1].startswith(f"more than {MOST_LINES} messages failed their last attempt within 10 s")

    given_up.sum_up()

    assert lines(caplog)[-1] == (
        "500 more messages of orders[1] failed their last attempt, one of the latest with ValueError: invalid data "
        "1499; they are skipped (on_exhausted is skip): offsets 1000-1499"
    )
    assert named(caplog) == list(range(MOST_LINES + 500))
    given_up.sum_up()
    assert len(caplog.records) == MOST_LINES + 2


def test_a_sum_of_scattered_offsets_names_every_one_in_lines_of_bounded_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given_up = GivenUp(ErrorText())
    give_up(given_up, range(MOST_LINES))
    scattered = range(MOST_LINES, MOST_LINES + 6 * MOST_RANGES, 3)
    give_up(given_up, scattered[::-1])
    give_up(given_up, range(5000, 5002), outcome=OnExhausted.PAUSE_PARTITION)

    given_up.sum_up()

    assert named(caplog) == [*range(MOST_LINES), *scattered, 5000, 5001]
    assert len(caplog.records) == MOST_LINES + 1 + 2 + 1
    assert max(map(len, lines(caplog))) < 1000


def test_after_the_interval_each_has_its_line_again_and_what_was_left_is_summed_up_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given_up = GivenUp(ErrorText())
    give_up(given_up, range(MOST_LINES + 2))

    give_up(given_up, range(MOST_LINES + 2, MOST_LINES + 4), now=INTERVAL_SECONDS)

    assert lines(caplog)[-3].endswith(f"offsets {MOST_LINES}-{MOST_LINES + 1}")
    assert named(caplog) == list(range(MOST_LINES + 4))
    assert "ValueError: invalid data" in caplog.records[-2].getMessage().splitlines()[-1]


def test_where_no_commit_comes_a_tick_after_the_interval_sums_up(caplog: pytest.LogCaptureFixture) -> None:
    given_up = GivenUp(ErrorText())
    give_up(given_up, range(MOST_LINES + 5))
    given_up.look(INTERVAL_SECONDS - 0.1)
    assert len(caplog.records) == MOST_LINES + 1

    given_up.look(INTERVAL_SECONDS)
    given_up.look(INTERVAL_SECONDS)

    assert len(caplog.records) == MOST_LINES + 2
    assert named(caplog) == list(range(MOST_LINES + 5))


def test_a_message_that_was_not_tried_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    GivenUp(ErrorText()).tell(
        work_item(topic="orders", offset=5), PoisonKeyError("its key fails"), 0, OnExhausted.DLQ, 0.0
    )

    assert caplog.records[0].getMessage() == (
        "orders-0-5 is not tried: PoisonKeyError: its key fails; it goes to the dead-letter topic, and its offset "
        "counts as done once it is there"
    )


@pytest.mark.parametrize("name", sorted(TOUCHY_ERRORS))
def test_exceptions_that_resist_being_touched_are_named_in_reasonable_length(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    GivenUp(ErrorText()).tell(work_item(offset=5), TOUCHY_ERRORS[name](), 1, OnExhausted.SKIP, 0.0)

    assert lines(caplog)[0].startswith("test-0-5 failed its last attempt, number 1: ")
    assert len(caplog.text) < 50_000
