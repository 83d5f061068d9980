"""Workers of the kit's tests, and outcomes as short tuples."""

from __future__ import annotations

from pyrallel_consumer import WorkItem
from pyrallel_consumer.testing import Outcome


async def good(item: WorkItem) -> None:
    pass


def plain(item: WorkItem) -> None:
    if item.value == b"bad":
        raise ValueError("bad")


def told(outcomes: list[Outcome]) -> list[tuple[bytes | None, int, str]]:
    return [(each.item.value, each.attempts, repr(each.error)) for each in outcomes]
