"""Workers that note the values that they get, for every mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyrallel_consumer import WorkItem


def note(folder: str, item: WorkItem[Any]) -> None:
    value = item.value
    order = value if isinstance(value, dict) else {"number": value.number, "article": value.article}
    with (Path(folder) / "seen").open("a") as seen:
        seen.write(f"{item.offset} {item.attempt} {order!r}\n")


async def note_async(folder: str, item: WorkItem[Any]) -> None:
    note(folder, item)


def seen_in(folder: Path) -> list[str]:
    """The noted values, in the order of offsets."""
    seen = folder / "seen"
    return sorted(seen.read_text().splitlines()) if seen.exists() else []
