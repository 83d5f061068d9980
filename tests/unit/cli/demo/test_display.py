"""How the demo looks, with a terminal and without."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from pyrallel_consumer.cli.command import EXIT_SIGNALLED
from pyrallel_consumer.cli.demo.display import (
    LiveDisplay,
    PlainDisplay,
    display_for,
    live_view,
    partition_bar,
    plain_line,
    sparkline,
    verdict_panel,
    warnings_told,
)
from pyrallel_consumer.cli.demo.picture import PartitionRow, Picture
from pyrallel_consumer.cli.demo.verdict import Stopped, Verdict, Visit

VERDICT = Verdict(
    expected=1000,
    processed=1000,
    failed=0,
    order_violations=0,
    duplicates=0,
    lag=0,
    seconds=0.5,
    worker_seconds=0.005,
    visit=Visit(partitions=1, processed=200),
)


def picture_of(partitions: int = 2) -> Picture:
    return Picture(
        expected=1000,
        processed=400,
        rate=2000.0,
        rates=(0.0, 1000.0, 2000.0),
        sequential_bound=200.0,
        in_flight=12,
        most_in_flight=15,
        order_violations=0,
        duplicates=0,
        rows=tuple(
            PartitionRow(partition, "second" if partition % 2 else "first", 500, 200, 260, in_flight=6, gaps=4)
            for partition in range(partitions)
        ),
    )


class SteppedClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def console_of(width: int = 110, height: int = 35, *, is_terminal: bool = False) -> tuple[Console, Callable[[], str]]:
    """A console that writes into memory, and what it wrote."""
    written = io.StringIO()
    console = Console(
        file=written, width=width, height=height, force_terminal=is_terminal, color_system=None, _environ={}
    )
    return console, written.getvalue


def drawn(renderable: RenderableType, width: int = 110) -> list[str]:
    console, written = console_of(width)
    console.print(renderable)
    return written().splitlines()


def test_a_terminal_gets_the_live_view_and_everything_else_plain_lines() -> None:
    clock = SteppedClock()

    assert isinstance(display_for(console_of(is_terminal=True)[0], clock), LiveDisplay)
    assert isinstance(display_for(console_of()[0], clock), PlainDisplay)


def test_a_terminal_that_cannot_redraw_gets_plain_lines() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})

    assert isinstance(display_for(console, SteppedClock()), PlainDisplay)


def test_plain_progress_comes_once_a_second_and_events_when_they_happen() -> None:
    clock = SteppedClock()
    console, written = console_of()
    with PlainDisplay(console, clock) as display:
        for _ in range(10):
            clock.now += 0.25
            display.show(picture_of())
        display.tell("a second consumer joins the group")

    lines = written().splitlines()
    assert [line.split(" of ")[0] for line in lines[:-1]] == ["   0.2 s    400", "   1.2 s    400", "   2.2 s    400"]
    assert lines[-1] == "   2.5 s  a second consumer joins the group"


def test_a_plain_line_shows_rate_flight_lag_gaps_and_who_has_how_many_partitions() -> None:
    assert plain_line(picture_of()) == (
        "  400 of 1,000 orders    2,000/s  in flight    12  lag       600  gaps     8  first 1, second 1 of 2 partitions"  # noqa: E501 -- as it is printed
    )


def test_plain_lines_have_their_columns_below_each_other_and_fit_a_wide_terminal() -> None:
    lines = [plain_line(picture_of()), plain_line(picture_of(partitions=40))]
    assert len({line.index("gaps") for line in lines}) == 1
    assert max(map(len, lines)) < 130


def test_a_plain_line_of_moving_partitions_names_nobody_and_one_of_a_broken_promise_says_so() -> None:
    moving = replace(picture_of(), rows=(PartitionRow(0, None, 9, 0, 0),))
    assert plain_line(moving).endswith("gaps     0")
    assert "1 OUT OF ORDER, 2 TWICE" in plain_line(replace(picture_of(), order_violations=1, duplicates=2))


def test_plain_lines_are_ascii() -> None:
    console, written = console_of()
    with PlainDisplay(console, SteppedClock()) as display:
        display.tell("something")
        display.show(picture_of())
        display.conclude(VERDICT)

    assert written().isascii()


@pytest.mark.parametrize(
    ("verdict", "last_line"),
    [
        (VERDICT, "Every promise was kept."),
        (Verdict(2, 1, 0, 1, 0, 1, 0.1, 0.005, None), "A promise was broken."),
        (
            Verdict(2, 1, 0, 0, 0, 1, 0.1, 0.005, None, Stopped("stopped by SIGINT", EXIT_SIGNALLED + 2)),
            "Incomplete: stopped by SIGINT",
        ),
    ],
)
def test_the_verdict_names_every_promise_and_ends_with_what_it_comes_to(verdict: Verdict, last_line: str) -> None:
    console, written = console_of()
    with PlainDisplay(console, SteppedClock()) as display:
        display.conclude(verdict)

    lines = written().splitlines()
    for check in verdict.checks():
        assert f"   0.0 s  {'ok    ' if check.holds else 'FAILED'}  {check.sentence}" in lines
    assert lines[-1].endswith(last_line)

    text = "\n".join(drawn(verdict_panel(verdict)))
    assert last_line in text
    assert all(f"{'✓' if check.holds else '✗'} {check.sentence}" in text for check in verdict.checks())


def test_the_live_view_shows_every_partition_with_its_consumer() -> None:
    lines = drawn(live_view(picture_of(partitions=8), width=110, height=35))

    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0].isdigit()]
    assert [(row[0], row[1]) for row in rows] == [
        (str(partition), "second" if partition % 2 else "first") for partition in range(8)
    ]
    assert all(row[-3:] == ["300", "6", "4"] for row in rows)


@pytest.mark.parametrize("partitions", [1, 8, 300])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (110, 35), (200, 60)])
def test_the_live_view_fits_the_terminal(partitions: int, width: int, height: int) -> None:
    lines = drawn(live_view(picture_of(partitions), width, height), width)

    assert len(lines) <= height - 8
    assert max(len(line) for line in lines) <= width


def test_the_live_display_draws_events_pictures_and_the_verdict() -> None:
    console, written = console_of(is_terminal=True)
    with LiveDisplay(console, SteppedClock()) as display:
        display.tell("a second consumer joins the group")
        display.show(picture_of())
        display.conclude(VERDICT)

    assert "a second consumer joins the group" in written()
    assert "400 of 1,000" in written()
    assert "Every promise was kept." in written()


def test_a_sparkline_is_as_high_as_the_highest_rate_and_shows_the_latest() -> None:
    assert sparkline([0.0, 50.0, 100.0], width=3) == "▁▅█"
    assert sparkline([100.0, 50.0, 0.0], width=2) == "▅▁"
    assert sparkline([], width=5) == ""
    assert sparkline([0.0, 0.0], width=5) == ""


@pytest.mark.parametrize(
    ("row", "spans"),
    [
        (PartitionRow(0, "first", 100, 0, 0), [0, 0, 10]),
        (PartitionRow(0, "first", 100, 50, 70), [5, 2, 3]),
        (PartitionRow(0, "first", 100, 100, 100), [10, 0, 0]),
        (PartitionRow(0, "first", 100, 120, 130), [10, 0, 0]),
        (PartitionRow(0, None, 0, 0, 0), [0, 0, 10]),
    ],
)
def test_a_bar_is_cut_into_committed_read_and_to_come(row: PartitionRow, spans: list[int]) -> None:
    bar = partition_bar(row, 10, "cyan")

    assert len(bar.plain) == 10
    lengths = {str(span.style): span.end - span.start for span in bar.spans}
    assert [lengths.get(style, 0) for style in ("cyan", "yellow", "bright_black")] == spans


def test_warnings_of_the_library_are_lines_of_the_display_while_it_runs() -> None:
    output, clock, logger = io.StringIO(), SteppedClock(), logging.getLogger("pyrallel_consumer.ingress")
    display = PlainDisplay(Console(file=output), clock)

    with warnings_told(display):
        logger.info("the group protocol is %s", "consumer")
        logger.warning("commit of %s failed", "orders[0]")
    logger.warning("afterwards")

    assert output.getvalue().splitlines() == ["   0.0 s  log: commit of orders[0] failed"]
