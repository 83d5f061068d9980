"""The work manager while the circuit is open, and with poisoned keys: nothing is lost, overtaken, or stuck."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.events import OffsetWentBack
from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitPolicy
from pyrallel_consumer.control_plane.failures.poison_keys import PoisonPolicy
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted, OrderingMode
from tests.unit.control_plane.builders import (
    OTHER,
    TP,
    assigned,
    keyed,
    lane_of,
    manager_of,
    offsets_of,
    only,
    picture_of,
    run_of,
)

CIRCUIT = CircuitPolicy(failure_share=0.5, window=2, probe_seconds=5.0)
POISON = PoisonPolicy(failures=1, cooldown_seconds=10.0)


def opened(
    keys: str = "abcd", on_exhausted: OnExhausted = OnExhausted.DLQ, ordering: OrderingMode = OrderingMode.KEY_HASH
) -> WorkManager:
    """A manager whose circuit opened at 100.0, by the first two messages; the first is held or skipped."""
    manager = manager_of(policy=WorkPolicy(OrderingPolicy(ordering), on_exhausted=on_exhausted, circuit=CIRCUIT))
    manager.observe(100.0)
    manager.add(TP, 1, run_of(keyed(0, keys)))
    for item in manager.take(2):
        manager.exhaust(item)
    assert manager.circuit.is_open
    return manager


@pytest.mark.parametrize("on_exhausted", [OnExhausted.DLQ, OnExhausted.SKIP])
def test_the_message_that_opens_it_and_all_that_fail_after_it_are_kept_for_another_round(
    on_exhausted: OnExhausted,
) -> None:
    manager = manager_of(policy=WorkPolicy(on_exhausted=on_exhausted, circuit=CIRCUIT))
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    items = manager.take(3)

    assert [manager.exhaust(item) for item in items] == [on_exhausted, None, None]
    assert (picture_of(manager).queued, picture_of(manager).failed) == (2, 1)
    assert picture_of(manager).paused_for == ("circuit",)


def test_what_can_never_succeed_opens_no_circuit_and_is_let_go_of_while_one_is_open() -> None:
    manager = manager_of(policy=WorkPolicy(circuit=CIRCUIT))
    manager.add(TP, 1, run_of(keyed(0, "abcd")))
    assert [manager.exhaust(item, is_hopeless=True) for item in manager.take(4)] == [OnExhausted.DLQ] * 4
    assert not manager.circuit.is_open

    manager = opened()
    manager.observe(105.0)
    [probe] = manager.take(9)
    assert manager.exhaust(probe, is_hopeless=True) is OnExhausted.DLQ
    assert (manager.circuit.unanswered_probes, manager.circuit.failed_probes) == (0, 0)
    manager.observe(110.0)
    assert len(manager.take(9)) == 1, "the next probe is another message"


@pytest.mark.parametrize("on_exhausted", [OnExhausted.STOP, OnExhausted.PAUSE_PARTITION])
def test_where_nothing_is_let_go_there_is_no_circuit(on_exhausted: OnExhausted) -> None:
    manager = manager_of(policy=WorkPolicy(on_exhausted=on_exhausted, circuit=CIRCUIT))
    manager.add(TP, 1, run_of(keyed(0, "abcd")))

    assert [manager.exhaust(item) for item in manager.take(4)] == [on_exhausted] * 4
    assert not manager.circuit.is_open


def test_while_it_is_open_nothing_is_read_and_one_probe_at_a_time_is_started() -> None:
    manager = opened()
    assert (manager.take(9), manager.ready, manager.room) == ([], 0, 0)

    manager.observe(105.0)
    assert manager.ready == 1
    assert manager.take(0) == []  # others have all the slots
    [probe] = manager.take(9)
    assert (manager.take(9), manager.ready, manager.room) == ([], 0, 0)
    assert manager.exhaust(probe) is None
    assert manager.take(9) == []


def test_each_probe_is_another_message_in_turns() -> None:
    manager = opened("abcd")
    probed = []
    for round_number in range(1, 6):
        manager.observe(100.0 + 5.0 * round_number)
        [probe] = manager.take(9)
        probed.append(probe.offset)
        manager.exhaust(probe)

    assert probed == [1, 2, 3, 1, 2]


def test_a_probe_that_hangs_or_waits_for_long_is_not_waited_for() -> None:
    manager = opened("abcd")
    started = []
    for now in range(105, 400):
        manager.observe(now)
        started += manager.take(9)

    assert offsets_of(started) == [1, 2, 3]  # Each while there is one.
    manager.succeed(started[1:2])
    assert not manager.circuit.is_open


@pytest.mark.parametrize("hang", ["probes", "what ran before"])
def test_where_all_that_was_read_hangs_one_message_more_is_read_for_the_next_probe(hang: str) -> None:
    manager = manager_of(policy=WorkPolicy(circuit=CIRCUIT))
    manager.observe(100.0)
    manager.add(TP, 1, run_of(keyed(0, "abcde")))
    before = manager.take(2 if hang == "probes" else 5)
    for item in before[:2]:
        manager.exhaust(item)
    hung = before[2:]
    now = 100
    while manager.ready or not manager.room:
        now += 5
        assert now < 1000
        manager.observe(now)
        hung += manager.take(9)
    assert manager.room == 1
    manager.add(TP, 1, run_of({5: b"f"}))
    assert (manager.ready, manager.room) == (1, 0)
    [probe] = manager.take(9)
    assert manager.take(9) == []
    manager.succeed([probe])
    assert not manager.circuit.is_open


def test_where_the_next_message_waits_behind_one_that_hangs_another_is_read_until_one_may_start() -> None:
    manager = manager_of(policy=WorkPolicy(circuit=CIRCUIT))
    manager.observe(100.0)
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    items = manager.take(2)
    for item in items:
        manager.exhaust(item)
    manager.observe(105.0)
    manager.take(9)
    manager.observe(110.0)
    assert (manager.ready, manager.room) == (0, 1)
    manager.add(TP, 1, run_of({2: b"b"}))
    assert (manager.ready, manager.room) == (0, 1)
    manager.add(TP, 1, run_of({3: b"c"}))
    assert (manager.ready, manager.room) == (1, 0)


@pytest.mark.parametrize("ordering", [OrderingMode.KEY_HASH, OrderingMode.UNORDERED])
def test_a_probe_that_succeeds_lets_everything_go_on(ordering: OrderingMode) -> None:
    manager = opened(ordering=ordering)
    manager.observe(105.0)
    [probe] = manager.take(9)
    manager.succeed([probe])

    assert offsets_of(manager.take(9)) == [2, 3]
    assert manager.room > 1
    assert picture_of(manager).paused_for == ()


def test_a_key_of_which_a_message_is_kept_stays_in_order() -> None:
    manager = opened("aba")
    manager.observe(105.0)
    [probe] = manager.take(9)
    manager.succeed([probe])
    assert manager.take(9) == []
    assert only(manager.snapshots()).offset == 0


def test_where_nothing_could_be_a_probe_one_message_at_a_time_is_read() -> None:
    manager = opened("ab")
    manager.observe(105.0)
    [probe] = manager.take(9)
    assert manager.room == 0
    manager.end([(TP, 1)], is_lost=True)
    manager.cancel(probe)
    assert manager.room == 1
    manager.assign(assigned(TP, 2, start=5))
    manager.add(TP, 2, run_of({5: b"a"}))
    assert manager.room == 0
    manager.observe(110.0)
    [probe] = manager.take(9)
    manager.succeed([probe])
    assert manager.room > 1


def test_where_every_message_that_is_read_was_tried_in_vain_one_more_is_read() -> None:
    manager = opened("ab", OnExhausted.SKIP)
    manager.observe(105.0)
    assert (manager.load.messages, manager.room) == (1, 0)
    manager.exhaust(manager.take(9)[0])

    assert manager.room == 1
    manager.add(TP, 1, run_of({2: b"c"}))
    assert manager.room == 0
    manager.observe(110.0)
    assert offsets_of(manager.take(9)) == [2]


def test_where_all_that_is_read_waits_for_a_dead_letter_one_more_message_is_read() -> None:
    manager = opened("aba")
    manager.observe(105.0)
    [probe] = manager.take(9)
    manager.cancel(probe)
    manager.go_back(OffsetWentBack(TP, 1, 2, 1))

    assert (picture_of(manager).held, manager.ready) == (1, 0)
    assert manager.room == 1


def test_not_even_one_message_is_read_where_the_buffer_is_full_of_held_ones() -> None:
    manager = manager_of(policy=WorkPolicy(circuit=CIRCUIT, limits=FlowLimits(max_messages=2)))
    manager.add(TP, 1, run_of(keyed(0, "aa")))
    [a] = manager.take(1)
    manager.exhaust(a)
    manager.circuit.failed(a)

    assert manager.circuit.is_open
    assert manager.room == 0


def test_the_probe_of_a_revoked_partition_ends_and_another_partition_has_the_next() -> None:
    manager = manager_of(TP, OTHER, policy=WorkPolicy(circuit=CIRCUIT))
    manager.observe(100.0)
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    manager.add(OTHER, 2, run_of(keyed(0, "c"), OTHER))
    for item in manager.take(2):
        manager.exhaust(item)
    manager.observe(105.0)
    probed = [manager.take(9)[0]]
    manager.cancel(probed[0])
    manager.observe(110.0)
    probed += manager.take(9)
    assert [probe.tp for probe in probed] == [OTHER, TP]
    manager.stop_dispatching([TP])
    manager.cancel(probed[1])
    manager.end([(TP, 1)], is_lost=False)

    manager.observe(115.0)
    assert [probe.tp for probe in manager.take(9)] == [OTHER]


def test_a_partition_that_is_being_revoked_gives_no_probe() -> None:
    manager = opened()
    manager.stop_dispatching([TP])
    manager.observe(105.0)

    assert manager.take(9) == []


def test_a_consumer_that_stops_starts_no_probe() -> None:
    manager = opened()
    manager.stop_all_dispatching()
    manager.observe(105.0)

    assert (manager.ready, manager.take(9)) == (0, [])


def test_a_message_that_was_forgotten_is_no_probe() -> None:
    manager = opened("ab")
    manager.go_back(OffsetWentBack(TP, 1, 2, 0))
    manager.observe(105.0)

    assert manager.take(9) == []
    assert manager.ready == 0


def test_the_further_messages_of_a_poisoned_key_are_held_untried_one_after_the_other() -> None:
    manager = manager_of(policy=WorkPolicy(poison=POISON))
    manager.add(TP, 1, run_of(keyed(0, "aaab")))
    first, other = manager.take(9)
    manager.exhaust(first)
    manager.succeed([other])
    manager.settle(first)

    assert manager.take(9) == []
    [second] = manager.take_condemned()
    assert (second.offset, manager.is_current(second), manager.in_flight) == (1, True, 0)
    assert manager.take_condemned() == []
    assert only(manager.snapshots()).offset == 1
    manager.settle(second)
    assert manager.take(9) == []
    [third] = manager.take_condemned()
    manager.settle(third)
    assert (manager.load.messages, only(manager.snapshots()).offset) == (0, 4)


def test_after_its_cooldown_a_key_is_tried_again_and_a_success_clears_it() -> None:
    manager = manager_of(policy=WorkPolicy(poison=POISON))
    manager.observe(100.0)
    manager.add(TP, 1, run_of(keyed(0, "aaa")))
    [first] = manager.take(9)
    manager.exhaust(first)
    manager.settle(first)
    manager.observe(110.0)

    [second] = manager.take(9)
    manager.succeed([second])
    assert offsets_of(manager.take(9)) == [2]


def test_a_key_is_not_remembered_beyond_its_assignment() -> None:
    manager = manager_of(policy=WorkPolicy(poison=POISON))
    manager.add(TP, 1, run_of(keyed(0, "a")))
    manager.exhaust(manager.take(9)[0])
    manager.end([(TP, 1)], is_lost=False)
    manager.assign(assigned(TP, 2, start=5))
    manager.add(TP, 2, run_of({5: b"a"}))

    assert offsets_of(manager.take(9)) == [5]


@pytest.mark.parametrize("on_exhausted", [each for each in OnExhausted if each is not OnExhausted.DLQ])
def test_without_dead_letters_no_key_is_poisoned(on_exhausted: OnExhausted) -> None:
    manager = manager_of(policy=WorkPolicy(on_exhausted=on_exhausted, poison=POISON))
    manager.add(TP, 1, run_of(keyed(0, "a")))
    manager.exhaust(manager.take(9)[0])

    assert not manager.poison_keys


def test_a_probe_counts_as_in_flight_beside_what_ran_before_and_its_key_has_it() -> None:
    manager = manager_of(policy=WorkPolicy(circuit=CIRCUIT))
    manager.observe(100.0)
    manager.add(TP, 1, run_of(keyed(0, "abcd")))
    first, second, _ = manager.take(3)
    manager.exhaust(first)
    manager.exhaust(second)
    assert manager.circuit.is_open
    before = picture_of(manager).in_flight
    manager.observe(105.0)

    [probe] = manager.take(9)

    assert picture_of(manager).in_flight == before + 1
    assert lane_of(probe).running is probe


def test_a_message_of_a_poisoned_key_is_no_probe_that_is_waited_for() -> None:
    manager = manager_of(policy=WorkPolicy(circuit=CIRCUIT, poison=POISON))
    manager.observe(100.0)
    manager.add(TP, 1, run_of(keyed(0, "aabc")))
    a, b, c = manager.take(3)
    assert offsets_of([a, b, c]) == [0, 2, 3]
    assert [manager.exhaust(item) for item in (a, b)] == [OnExhausted.DLQ, None]
    manager.settle(a)
    manager.observe(105.0)

    assert manager.take(1) == []
    assert offsets_of(manager.take_condemned()) == [1]
    assert manager.circuit.unanswered_probes == 0
