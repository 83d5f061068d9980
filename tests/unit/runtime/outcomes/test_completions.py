"""Which messages a transaction's outcome reports: the committed messages, and no letters."""

from __future__ import annotations

from pyrallel_consumer.control_plane.events import CommitSnapshot, TransactionAnswered
from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm
from pyrallel_consumer.control_plane.output.unwritten import Unwritten
from pyrallel_consumer.dto import CompletionEvent, TopicPartition
from pyrallel_consumer.runtime.outcomes.completions import Completions
from pyrallel_consumer.testing import work_item


def snapshot(tp: TopicPartition, *entries: Unwritten) -> CommitSnapshot:
    return CommitSnapshot(tp, 1, 0, "", 0, None, entries=entries)


def test_a_committed_transaction_tells_of_its_messages() -> None:
    events: list[CompletionEvent] = []
    taken: list[TransactionAnswered] = []
    here, there = TopicPartition("orders", 0), TopicPartition("orders", 1)
    done, aborted = work_item(offset=1), work_item(offset=2, partition=1)
    failed = work_item(offset=3)
    letter = Unwritten(failed, (), 3, letter=Letter(failed, "orders.dlq", "bad", 3, LetterForm.FULL))
    answered = TransactionAnswered(
        1,
        {here: None, there: "FENCED"},
        snapshots=(snapshot(here, Unwritten(done, (), 2), letter), snapshot(there, Unwritten(aborted, (), 1))),
    )

    Completions(events.append).watched_outcomes(taken.append)(answered)

    assert taken == [answered]
    assert [(event.offset, event.status.value, event.attempt) for event in events] == [(1, "success", 2)]
