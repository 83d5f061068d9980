"""Runs and circuits: poisoned keys, and the one probe of an open circuit."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitPolicy
from pyrallel_consumer.control_plane.failures.poison_keys import PoisonPolicy
from pyrallel_consumer.control_plane.policies import OrderingPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OrderingMode
from tests.unit.control_plane.builders import offsets_of, only, picture_of
from tests.unit.control_plane.sent_ahead import with_runs


def test_the_letters_of_a_poisoned_key_go_out_one_after_another() -> None:
    manager = with_runs("aaab-", policy=WorkPolicy(poison=PoisonPolicy(1), is_sending_ahead=True))
    started = {item.offset: item for item in manager.take(10)}
    manager.exhaust(started[0])
    for offset in (1, 2):
        manager.cancel(started[offset])
    manager.settle(started[0])
    condemned = []
    for _ in (1, 2):
        assert manager.take(10) == []
        [item] = manager.take_condemned()
        condemned.append(item.offset)
        manager.settle(item)

    assert condemned == [1, 2]
    manager.succeed([started[3], started[4]])
    assert only(manager.snapshots()).offset == 5


def test_a_poisoned_run_holds_its_first_and_puts_back_the_rest() -> None:
    manager = with_runs("aaaa", policy=WorkPolicy(poison=PoisonPolicy(1), is_sending_ahead=True))
    [first] = manager.take(1)
    manager.exhaust(first)
    manager.settle(first)
    manager.settle(first)
    for _ in range(3):
        manager.take(10)
        [item] = manager.take_condemned()
        assert (manager.in_flight, picture_of(manager).held) == (0, 1)
        manager.settle(item)

    assert manager.load.messages == 0


def in_partition_order(keys: str) -> WorkManager:
    """Key ``a``, which is first, is poisoned, and all that was sent ahead of it was given back."""
    policy = WorkPolicy(ordering=OrderingPolicy(OrderingMode.PARTITION), poison=PoisonPolicy(1), is_sending_ahead=True)
    manager = with_runs(keys, policy=policy)
    first, *others = manager.take(10)
    manager.exhaust(first)
    for item in others:
        manager.cancel(item)
    manager.settle(first)
    return manager


def test_in_partition_order_a_poisoned_message_waits_for_those_in_flight_before_it() -> None:
    manager = in_partition_order("abbab")
    second, third = manager.take(10)
    manager.succeed([second])

    assert manager.take(10) == []
    assert manager.take_condemned() == []
    manager.succeed([third])
    assert manager.take(10) == []
    [fourth] = manager.take_condemned()
    assert fourth.offset == 3
    assert manager.take(10) == []
    manager.settle(fourth)
    assert offsets_of(manager.take(10)) == [4]


def test_in_partition_order_nothing_starts_together_with_a_poisoned_message_before_it() -> None:
    manager = in_partition_order("abaa-")
    manager.succeed(manager.take(1))
    condemned = []
    for _ in range(2):
        assert manager.take(10) == []
        [item] = manager.take_condemned()
        condemned.append(item.offset)
        assert manager.in_flight == 0
        manager.settle(item)

    assert condemned == [2, 3]
    manager.succeed(manager.take(10))
    assert only(manager.snapshots()).offset == 5


def test_without_order_a_poisoned_message_stops_no_other() -> None:
    policy = WorkPolicy(ordering=OrderingPolicy(OrderingMode.UNORDERED), poison=PoisonPolicy(1), is_sending_ahead=True)
    manager = with_runs("aab", policy=policy)
    [first] = manager.take(1)
    manager.exhaust(first)

    assert offsets_of(manager.take(10)) == [2]
    assert offsets_of(manager.take_condemned()) == [1]


@pytest.mark.parametrize("keys", ["aa", "--"])
def test_an_open_circuit_starts_one_probe(keys: str) -> None:
    circuit = CircuitPolicy(failure_share=0.5, window=1, probe_seconds=1.0)
    manager = with_runs(keys + "b", policy=WorkPolicy(circuit=circuit, is_sending_ahead=True))
    started = manager.take(10)
    manager.observe(10.0)
    manager.exhaust(started[0])
    for item in started[1:]:
        manager.cancel(item)
    manager.observe(20.0)
    [probe] = manager.take(10)
    assert manager.take(10) == []
    manager.succeed([probe])

    assert len(manager.take(10)) >= 1


def test_a_ticket_that_came_to_be_wrong_gives_no_probe() -> None:
    circuit = CircuitPolicy(failure_share=0.0, window=1, probe_seconds=1.0)
    manager = with_runs("aaa", most=2, policy=WorkPolicy(circuit=circuit, is_sending_ahead=True))
    first, second = manager.take(10)
    manager.succeed([first])
    manager.allow_runs(1)
    manager.observe(10.0)
    manager.circuit.failed(first)
    manager.observe(20.0)

    assert manager.take(10) == []
    manager.succeed([second])
    assert offsets_of(manager.take(10)) == [2]
