"""A table of text: drawn on a terminal, plain columns of any width in a pipe or a log."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table

from pyrallel_consumer.cli.terminal import drawn, printable, say

COLUMN_GAP = 2


def fitting_columns(rows: Sequence[Sequence[str]], width: int, dispensable: Sequence[int]) -> list[int]:
    """The columns that fit a terminal of ``width``: as many of ``dispensable`` as necessary are left out, in turn.

    Text that still does not fit is folded.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = list(range(len(widths)))
    for at in dispensable:
        if sum(widths[each] + COLUMN_GAP for each in columns) <= width:
            break
        columns.remove(at)
    return columns


def drawn_table(rows: Sequence[Sequence[str]], left_aligned: Sequence[int]) -> RenderableType:
    """For a terminal; the first row is the head, and the columns of ``left_aligned`` are text, the others numbers."""
    head, *lines = rows
    table = Table(box=None, padding=(0, COLUMN_GAP, 0, 0), header_style="bold")
    for at, name in enumerate(head):
        table.add_column(name, justify="left" if at in left_aligned else "right", overflow="fold")
    for line in lines:
        table.add_row(*(drawn(printable(cell)) for cell in line))
    return table


def plain_table(rows: Sequence[Sequence[str]], left_aligned: Sequence[int]) -> list[str]:
    """Lines without colours and never folded, for programs and logs."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at in left_aligned else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def print_table(console: Console, rows: Sequence[Sequence[str]], left_aligned: Sequence[int]) -> None:
    """Print the table in the form that suits the console: a terminal, a file or a pipe."""
    if console.is_terminal:
        console.print(drawn_table(rows, left_aligned))
    else:
        say("\n".join(plain_table(rows, left_aligned)))
