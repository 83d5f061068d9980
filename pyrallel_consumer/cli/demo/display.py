"""How the demo looks: a live view on a terminal, one plain line a second elsewhere; the verdict under both.

Shows pictures and verdicts and decides nothing. Events are lines that stay; the live view is redrawn below them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pyrallel_consumer.cli.demo.picture import PartitionRow, Picture
from pyrallel_consumer.cli.demo.verdict import Verdict

PLAIN_LINE_SECONDS = 1.0
REDRAW_SECONDS = 0.1
"""Drawing costs milliseconds that the workers' loop could use."""
BLOCKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 32
ROWS_AROUND = 17
"""Lines of the terminal that are not left for partitions."""
FEWEST_ROWS = 4
BESIDE_BAR = 53
"""Columns of the terminal that are not left for a partition's bar."""
NARROWEST_BAR = 8
COLOURS = {"first": "cyan", "second": "magenta"}


class Display(Protocol):
    """The run's interface to the display, from beginning to verdict, inside a ``with`` block."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def tell(self, event: str) -> None: ...
    def show(self, picture: Picture) -> None: ...
    def conclude(self, verdict: Verdict) -> None: ...


def display_for(console: Console, clock: Callable[[], float]) -> Display:
    """The live view if the console is a terminal that can redraw, else plain lines."""
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, clock)
    return PlainDisplay(console, clock)


@contextmanager
def warnings_told(display: Display) -> Iterator[None]:
    """Show the library's warnings and errors as events of the display while the block runs."""
    handler, logger = _TellingHandler(display), logging.getLogger("pyrallel_consumer")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _TellingHandler(logging.Handler):
    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._display.tell(f"log: {self.format(record)}")
        except Exception:  # noqa: BLE001 -- as every handler: what logs goes on
            self.handleError(record)


class PlainDisplay:
    """Lines of text for logs and pipes, without colour, in ASCII only."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._began_at = clock()
        self._line_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def tell(self, event: str) -> None:
        self._print(event)

    def show(self, picture: Picture) -> None:
        now = self._clock()
        if now >= self._line_at + PLAIN_LINE_SECONDS:
            self._line_at = now
            self._print(plain_line(picture))

    def conclude(self, verdict: Verdict) -> None:
        for check in verdict.checks():
            self._print(f"{'ok    ' if check.holds else 'FAILED'}  {check.sentence}")
        if verdict.seconds:
            self._print(verdict.speed())
        self._print(verdict.headline)

    def _print(self, line: str) -> None:
        elapsed = self._clock() - self._began_at
        self._console.print(f"{elapsed:6.1f} s  {line}", markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A view that is redrawn in place, with events above it as they happen."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._began_at = clock()
        # Nothing is drawn by a thread of rich's own: the run draws, so a picture is never half old, half new.
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._picture: Picture | None = None
        self._drawn_at = float("-inf")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, event: str) -> None:
        elapsed = Text(f"{self._clock() - self._began_at:6.1f} s  ", style="dim")
        self._console.print(elapsed + Text(event))

    def show(self, picture: Picture) -> None:
        self._picture = picture
        now = self._clock()
        if now >= self._drawn_at + REDRAW_SECONDS:
            self._drawn_at = now
            self._draw(picture)

    def conclude(self, verdict: Verdict) -> None:
        if self._picture is not None:
            self._draw(self._picture)
        self._live.stop()
        self._console.print(Text(), verdict_panel(verdict), sep="\n")

    def _draw(self, picture: Picture) -> None:
        self._live.update(live_view(picture, self._console.width, self._console.height), refresh=True)


def plain_line(picture: Picture) -> str:
    """One moment in one line of ASCII; its columns are aligned with the previous line's."""
    columns = [
        f"{picture.processed:>{len(f'{picture.expected:,}')},} of {picture.expected:,} orders",
        f"{picture.rate:>7,.0f}/s",
        f"in flight {picture.in_flight:>5,}",
        f"lag {picture.lag:>9,}",
        f"gaps {picture.gaps:>5,}",
        _shares(picture.rows),
    ]
    if picture.order_violations or picture.duplicates:
        columns.append(f"{picture.order_violations:,} OUT OF ORDER, {picture.duplicates:,} TWICE")
    return "  ".join(columns).rstrip()


def _shares(rows: Sequence[PartitionRow]) -> str:
    """How many partitions each consumer has: ``first 5, second 3 partitions``."""
    owners = Counter(row.consumer for row in rows if row.consumer is not None)
    if not owners:
        return ""
    return f"{', '.join(f'{name} {count:,}' for name, count in sorted(owners.items()))} of {len(rows):,} partitions"


def live_view(picture: Picture, width: int, height: int) -> RenderableType:
    """The drawing of one moment for a terminal of this size."""
    done = ProgressBar(
        total=picture.expected, completed=picture.processed, complete_style="green", finished_style="green"
    )
    share = picture.processed / picture.expected if picture.expected else 1.0
    head = Table.grid(padding=(0, 2), expand=True)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text("processed", style="bold"), done, f"{picture.processed:,} of {picture.expected:,}  {share:4.0%}")
    head.add_row(
        Text("orders/s", style="bold"),
        Text(sparkline(picture.rates, SPARKLINE_WIDTH), style="green"),
        Text.assemble(
            (f"{picture.rate:,.0f}/s", "bold green"),
            f"  {picture.rate / picture.sequential_bound:,.0f} times one at a time ({picture.sequential_bound:,g}/s)",
        ),
    )
    head.add_row(
        Text("in flight", style="bold"),
        Text(f"{picture.in_flight:,} at once, most {picture.most_in_flight:,}", no_wrap=True, overflow="ellipsis"),
        _promises(picture),
    )
    body = _partitions_table(
        picture.rows, max(FEWEST_ROWS, height - ROWS_AROUND), max(NARROWEST_BAR, width - BESIDE_BAR)
    )
    return Group(Text(), head, Text(), body)


def verdict_panel(verdict: Verdict) -> RenderableType:
    """The drawing of the verdict for a terminal."""
    lines = Table.grid(padding=(0, 1))
    for check in verdict.checks():
        lines.add_row(Text("✓", style="bold green") if check.holds else Text("✗", style="bold red"), check.sentence)
    if verdict.seconds:
        lines.add_row(Text("»", style="bold"), Text(verdict.speed(), style="bold"))
    colour = "green" if verdict.is_ok else "yellow" if verdict.stopped else "red"
    return Panel(lines, title=Text(verdict.headline, style=f"bold {colour}"), title_align="left", border_style=colour)


def sparkline(rates: Sequence[float], width: int) -> str:
    """The latest ``width`` rates as a row of blocks, the highest of all rates filling a whole one."""
    top = max(rates, default=0.0)
    if top <= 0:
        return ""
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(rate / top * len(BLOCKS)))] for rate in rates[-width:])


def partition_bar(row: PartitionRow, width: int, colour: str) -> Text:
    """The partition's log: committed, read beyond that, and still to be read."""
    end = max(1, row.end_offset)
    committed = min(width, width * row.committed_offset // end)
    fetched = min(width, max(committed, round(width * row.fetched_offset / end)))
    return Text.assemble(
        ("━" * committed, colour), ("━" * (fetched - committed), "yellow"), ("━" * (width - fetched), "bright_black")
    )


def _partitions_table(rows: Sequence[PartitionRow], most_rows: int, bar_width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("partition", justify="right")
    table.add_column("consumer")
    table.add_column(Text.assemble("committed ", ("read", "yellow"), (" to come", "bright_black")))
    for name in ("lag", "in flight", "gaps"):
        table.add_column(name, justify="right", min_width=7)
    shown = rows if len(rows) <= most_rows + 1 else rows[:most_rows]
    for row in shown:
        colour = _colour(row.consumer)
        table.add_row(
            str(row.partition),
            Text(row.consumer or "-", style=colour),
            partition_bar(row, bar_width, colour),
            f"{row.lag:,}",
            f"{row.in_flight:,}",
            f"{row.gaps:,}",
        )
    if len(shown) == len(rows):
        return table
    return Group(table, Text(f"and {len(rows) - len(shown)} more partitions", style="dim"))


def _promises(picture: Picture) -> Text:
    broken = picture.order_violations + picture.duplicates
    return Text(
        f"{picture.order_violations:,} out of order  {picture.duplicates:,} run twice",
        style="red" if broken else "green",
    )


def _colour(consumer: str | None) -> str:
    return "green" if consumer is None else COLOURS.get(consumer, "blue")
