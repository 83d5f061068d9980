"""Bugs in batches: shared keys, broken orders, and messages charged for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer.execution_plane.batches.assembler import Assembler
from pyrallel_consumer.execution_plane.batches.book import BatchBook
from pyrallel_consumer.execution_plane.batches.busy_origins import BusyOrigins
from pyrallel_consumer.execution_plane.batches.search import Search
from pyrallel_consumer.execution_plane.batches.sleepers import Sleepers
from pyrallel_consumer.runtime.pump.revocation import Revocation
from tests.simulation.planting import around, planted


@planted
def what_is_submitted_behind_a_batch_makes_another_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BusyOrigins, "put_behind", lambda origins, items: (items, []))
    patch.setattr(BusyOrigins, "begin", lambda origins, begun: origins._left.update(dict.fromkeys(begun, 0)))  # noqa: SLF001 -- the bug to plant


@planted
def what_stands_behind_a_named_message_is_done(patch: pytest.MonkeyPatch) -> None:
    def take_named(book: Any, batch: Any, errors: Any, _: Any, found: Any, now: float) -> None:
        for place, root in enumerate(batch.roots):
            if place in errors:
                book._charge(root, errors[place], batch.search, found, now, may_join=True)  # noqa: SLF001 -- as above
            else:
                book.channel.successes.append(root)
                book._leave(root, now)  # noqa: SLF001 -- as above

    patch.setattr(BatchBook, "_take_named", take_named)


@planted
def the_second_half_of_a_key_does_not_wait_for_the_first(patch: pytest.MonkeyPatch) -> None:
    def cut(original: Callable[..., Any], search: Any, *args: Any) -> Any:
        found = original(search, *args)
        for pair in search._pairs:  # noqa: SLF001 -- as above
            if pair.halves.is_one_key:
                pair.halves.is_one_key = False
        return found

    around(patch, Search, "_cut", cut)

    def begin(original: Callable[..., Any], search: Any, *args: Any) -> None:
        original(search, *args)
        search._pairs[0].halves.is_one_key = False  # noqa: SLF001 -- as above

    around(patch, Search, "__init__", begin)


@planted
def all_pay_for_the_message_at_fault(patch: pytest.MonkeyPatch) -> None:
    def begin_search(book: Any, batch: Any, error: BaseException, now: float) -> None:
        for root in batch.roots:
            book._charge(root, error, None, [], now)  # noqa: SLF001 -- as above

    patch.setattr(BatchBook, "_begin_search", begin_search)


@planted
def what_stands_behind_a_charged_message_goes_on(patch: pytest.MonkeyPatch) -> None:
    def drop(original: Callable[..., Any], book: Any, search: Any, gone: Any, *more: Any) -> None:
        if len({root.origin for root in gone}) != 1:
            original(book, search, gone, *more)

    around(patch, BatchBook, "_drop", drop)


@planted
def what_is_due_takes_slots_that_are_not_free(patch: pytest.MonkeyPatch) -> None:
    def wake(original: Callable[..., Any], sleepers: Any, now: float, free: int) -> Any:
        return original(sleepers, now, free + 4)

    around(patch, Sleepers, "wake", wake)


@planted
def a_revoked_partition_s_half_filled_batch_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assembler, "take_out", lambda assembler, which: [])


@planted
def what_waits_for_its_batch_is_joined_while_its_partition_is_revoked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Revocation, "withdraw", lambda _: None)
