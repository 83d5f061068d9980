"""The suite's worker for batches of one, apart from the tests: worker processes load it, and have no use for pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.testing.engine_contract import async_worker, plain_worker

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem


async def async_batch_worker(items: list[WorkItem]) -> None:
    [item] = items
    await async_worker(item)


def plain_batch_worker(items: list[WorkItem]) -> None:
    [item] = items
    plain_worker(item)
