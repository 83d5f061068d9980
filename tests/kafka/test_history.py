"""The questions that the tests on Kafka ask of a history find what they are there to find. Needs no broker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pyrallel_consumer import WorkItem
from pyrallel_consumer.testing import work_item
from tests.kafka.history import History, Run
from tests.kafka.journal import Journal, journaling_worker, read_journals


def run(offset: int, started_ns: int, ended_ns: int, *, owner: str = "a", key: bytes | None = b"k") -> Run:
    return Run(owner, ("t", 0, offset), key, b"", started_ns, ended_ns, "finished")


def test_runs_one_after_the_other_are_in_order_whoever_owns_them() -> None:
    history = History([run(0, 1, 2), run(3, 2, 5, owner="b"), run(4, 6, 7), run(5, 1, 9, key=b"other")])

    assert history.order_violations() == []
    assert history.finished == {("t", 0, 0), ("t", 0, 3), ("t", 0, 4), ("t", 0, 5)}


def test_runs_of_one_key_that_overlap_are_found() -> None:
    assert len(History([run(0, 1, 5), run(0, 4, 8, owner="b")]).order_violations()) == 1


def test_a_run_that_begins_before_its_predecessor_was_finished_is_found() -> None:
    cancelled = replace(run(0, 1, 2), end="cancelled")

    assert len(History([cancelled, run(1, 3, 4)]).order_violations()) == 1
    assert len(History([run(1, 1, 2), run(0, 3, 4)]).order_violations()) == 1
    assert History([cancelled, run(0, 2, 3), run(1, 3, 4)]).order_violations() == []


def test_messages_without_a_key_have_no_order() -> None:
    assert History([run(1, 1, 4, key=None), run(0, 2, 3, key=None)]).order_violations() == []


def test_a_place_that_was_started_twice_was_run_twice() -> None:
    unfinished = replace(run(0, 1, 1), ended_ns=None, end=None)

    history = History([unfinished, run(0, 2, 3), run(1, 3, 4)])

    assert history.run_twice == {("t", 0, 0)}
    assert history.finished == {("t", 0, 0), ("t", 0, 1)}


async def test_a_journal_tells_how_runs_ended_and_which_did_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a")
    worker = journaling_worker(journal, never_finish=[(0, 1), (0, 2)])

    def item(offset: int, value: bytes | None) -> WorkItem:
        return work_item(value, key=b"a key\n", topic="t", offset=offset)

    await worker(item(0, None))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await worker(item(1, b""))
    unfinished = asyncio.create_task(worker(item(2, b"\xff")))
    while journal.started < 3:
        await asyncio.sleep(0)
    seen = read_journals(tmp_path)
    unfinished.cancel()
    await asyncio.wait([unfinished])
    journal.close()

    assert [(run.value, run.end) for run in seen] == [(None, "finished"), (b"", "cancelled"), (b"\xff", None)]
    assert {run.key for run in seen} == {b"a key\n"}
    assert seen.finished == {("t", 0, 0)}
