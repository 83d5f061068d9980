"""Failures by type: counted, bounded in number, the most frequent first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.observability.status.failure_kinds import MOST_KINDS, OTHERS, FailureKinds
from tests.unit.control_plane.builders import TP, keyed, manager_of, run_of


@pytest.fixture
def items() -> Iterator[WorkItem]:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    return iter(manager.take(3))


def test_attempts_and_given_up_messages_are_counted_and_the_latest_place_is_kept(items: Iterator[WorkItem]) -> None:
    kinds = FailureKinds()
    first, second, third = items
    kinds.note_attempt(first, ValueError(), 1.0)
    kinds.note_attempt(second, ValueError(), 2.0)
    kinds.note_given_up(second, ValueError(), 2.0)
    kinds.note_attempt(third, KeyError(), 3.0)

    assert kinds.most_frequent(9) == (("ValueError", 2, 1, 2.0, TP, 1), ("KeyError", 1, 0, 3.0, TP, 2))
    assert [kind.name for kind in kinds.most_frequent(1)] == ["ValueError"]


def test_a_type_beyond_the_most_is_counted_with_the_others(items: Iterator[WorkItem]) -> None:
    kinds, item = FailureKinds(), next(items)
    for at in range(MOST_KINDS + 20):
        kinds.note_attempt(item, type(f"Error{at}", (Exception,), {})(), float(at))

    found = {kind.name: kind.attempts for kind in kinds.most_frequent(1000)}
    assert found[OTHERS] == 20
    assert len(found) == MOST_KINDS + 1
