"""Workers that return records, at the top of a module so that processes find them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

from pyrallel_consumer import Record, WorkItem

OUT = "results"


def answer_to(item: WorkItem, topic: str = OUT) -> Record:
    return Record(topic, b"done " + (item.value or b""), item.key, [("source", item.id.encode())])


async def returns_one(item: WorkItem) -> Record:
    return answer_to(item)


async def yields_two(item: WorkItem) -> AsyncIterator[Record]:
    yield answer_to(item)
    yield answer_to(item)


def plainly_returns_a_list(item: WorkItem) -> list[Record]:
    time.sleep(0.0005)
    return [answer_to(item)]


def plainly_yields(item: WorkItem) -> Iterator[Record]:
    yield answer_to(item)


def returns_for_even_offsets(item: WorkItem) -> Record | None:
    return answer_to(item) if item.offset % 2 == 0 else None


# Workers that take batches


async def answers_in_order(items: list[WorkItem]) -> list[Record]:
    return [answer_to(item) for item in items]


def plainly_answers_by_item(items: list[WorkItem]) -> dict[WorkItem, Record]:
    return {item: answer_to(item) for item in items if item.offset % 2 == 0}


async def yields_with_items(items: list[WorkItem]) -> AsyncIterator[tuple[WorkItem, Record]]:
    for item in items:
        yield item, answer_to(item)
        yield item, answer_to(item)


def plainly_answers_where_it_can(items: list[WorkItem]) -> list[Record | ValueError]:
    """Every seventh fails once."""
    return [ValueError("not yet") if item.offset % 7 == 0 and item.attempt == 1 else answer_to(item) for item in items]
