"""What the run reads out of a broker's log."""

from __future__ import annotations

from tests.chaos.kafka_faults import coordinators_active_too_early

LINE = (
    "2026-11-30T04:40:04.925147080Z group-coordinator-event-processor-0 ERROR [GroupCoordinator id=1] The state "
    "machine of the coordinator __consumer_offsets-0 is out of sync with the underlying log. The last written offset "
    "returned is 19214 while the coordinator expected 3. The coordinator will be reloaded in order to re-synchronize "
    "the state machine."
)


def test_a_coordinator_that_was_active_before_it_had_loaded_its_log_is_named() -> None:
    other = "2026-11-30T04:40:59.05Z quorum-controller ERROR [QuorumController id=1] took 2791 ms."

    [fault] = coordinators_active_too_early([other, LINE, "\tat org.apache.kafka.Some.line(Some.java:1)"])

    assert fault == (
        "2026-11-30T04:40:04.925147080Z: the coordinator of __consumer_offsets-0 was active before it had loaded its "
        "log: it wrote offset 19214 for 3"
    )


def test_a_log_without_it_names_nothing() -> None:
    assert coordinators_active_too_early(["", "WARN [QuorumController id=1] Performing controller activation."]) == []
