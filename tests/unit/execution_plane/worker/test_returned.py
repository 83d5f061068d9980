"""Which workers are taken to return records, before any of them is called."""

# ruff: noqa: ANN001, ANN201, ANN204 -- workers without annotations are what is tested

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import pyrallel_consumer
from pyrallel_consumer import Record, WorkItem
from pyrallel_consumer import Record as Outgoing
from pyrallel_consumer.execution_plane.worker.returned import returns_records


async def said(_: WorkItem) -> Record | None: ...


def listed(_: WorkItem) -> list[Outgoing]:
    return []


def yielding(_: Any) -> Any:
    yield


async def unsaid(item):  # type: ignore[no-untyped-def]
    return Record("out", item.value)


def by_its_module(item):  # type: ignore[no-untyped-def]
    return pyrallel_consumer.Record("out", item.value)


def renamed(item):  # type: ignore[no-untyped-def]
    return [Outgoing("out", item.value)]


def imported_inside(item):  # type: ignore[no-untyped-def]
    from pyrallel_consumer import Record  # noqa: PLC0415

    return Record("out", item.value)


class Called:
    async def __call__(self, item):  # type: ignore[no-untyped-def]
        return Record("out", item.value)


def says_none(_: WorkItem) -> None:
    Record("never", b"written")


def silent(item):  # type: ignore[no-untyped-def]
    return item.value


@pytest.mark.parametrize(
    "worker",
    [
        said,
        listed,
        yielding,
        unsaid,
        by_its_module,
        renamed,
        imported_inside,
        Called(),
        functools.partial(unsaid),
        lambda item: Record("out", item.value),
    ],
)
def test_a_worker_returns_records_by_its_signature_or_where_that_is_silent_by_its_code(
    worker: Callable[..., Any],
) -> None:
    assert returns_records(worker)


@pytest.mark.parametrize("worker", [says_none, silent, print, None])
def test_other_workers_return_none(worker: Callable[..., Any] | None) -> None:
    assert not returns_records(worker)


def test_another_thing_of_that_name_is_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Record", dict)

    assert not returns_records(unsaid)
