"""The progress of a command over a dead-letter topic: a bar on a terminal, one plain line a second elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

PLAIN_LINE_SECONDS = 1.0


class Display(Protocol):
    """A command's interface to the progress display, inside a ``with`` block."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def begin(self, offsets: int) -> None: ...
    def advance(self, offsets: int, done: str) -> None: ...


def display_for(console: Console, what: str, clock: Callable[[], float]) -> Display:
    """A bar if the console is a terminal that can redraw, else plain lines; ``what`` names the action."""
    if console.is_terminal and not console.is_dumb_terminal:
        return BarDisplay(console, what)
    return PlainDisplay(console, what, clock)


class PlainDisplay:
    """Lines of text for logs and pipes; none if the command takes less than a second."""

    def __init__(self, console: Console, what: str, clock: Callable[[], float]) -> None:
        self._console = console
        self._what = what
        self._clock = clock
        self._total = 0
        self._behind = 0
        self._line_at = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def begin(self, offsets: int) -> None:
        self._total += offsets

    def advance(self, offsets: int, done: str) -> None:
        self._behind += offsets
        now = self._clock()
        if now >= self._line_at + PLAIN_LINE_SECONDS:
            self._line_at = now
            line = f"{self._what}: {self._behind:,} of {self._total:,} offsets, {done}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class BarDisplay:
    """A bar that is redrawn in place."""

    def __init__(self, console: Console, what: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[done]}"),
        )
        self._bar = Bar(*columns, TimeRemainingColumn(), console=console)
        self._total = 0
        self._task = self._bar.add_task(what, total=None, done="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, offsets: int) -> None:
        self._total += offsets
        self._bar.update(self._task, total=self._total)

    def advance(self, offsets: int, done: str) -> None:
        self._bar.update(self._task, advance=offsets, done=done)
