"""The circuit for outages: when it opens, what it lets through, and that it closes again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitChanged, CircuitPolicy, FailureCircuit
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.testing import PlainMessage


class Epoch:
    epoch = 1
    is_ordered = False


POLICY = CircuitPolicy(failure_share=0.5, window=10, probe_seconds=5.0)


def item(offset: int = 0) -> WorkItem:
    return WorkItem(PlainMessage("orders", 0, offset), offset, Epoch())


def items(count: int) -> list[WorkItem]:
    return [item(offset) for offset in range(count)]


def opened(now: float = 100.0) -> FailureCircuit:
    circuit = FailureCircuit(POLICY)
    circuit.observe(now)
    for each in items(10):
        circuit.failed(each)
    assert circuit.is_open
    circuit.take_changes()
    return circuit


def wants_probe(circuit: FailureCircuit, now: float) -> bool:
    circuit.observe(now)
    return circuit.wants_probe


def test_it_opens_with_the_failure_that_makes_them_more_than_the_share_of_a_full_window() -> None:
    circuit = FailureCircuit(POLICY)
    circuit.succeeded(items(5))

    assert [circuit.failed(item()) for _ in range(6)] == [False] * 5 + [True]
    assert circuit.take_changes() == [CircuitChanged(True, 6, 10, 0, 0.0)]
    assert circuit.take_changes() == []
    assert circuit.opened == 1


def test_it_waits_for_a_full_window_however_many_fail() -> None:
    circuit = FailureCircuit(POLICY)

    assert [circuit.failed(item()) for _ in range(10)] == [False] * 9 + [True]


def test_what_the_window_has_passed_counts_no_more() -> None:
    circuit = FailureCircuit(POLICY)
    for _ in range(5):
        circuit.failed(item())
    circuit.succeeded(items(8))

    assert [circuit.failed(item()) for _ in range(5)] == [False] * 5
    assert circuit.failed(item())


def test_without_policy_it_never_opens() -> None:
    circuit = FailureCircuit(None)
    circuit.succeeded(items(3))

    assert not any(circuit.failed(item()) for _ in range(1000))
    assert not circuit.wants_probe


def test_probes_that_fail_come_one_at_a_time_each_after_its_wait() -> None:
    circuit = opened(now=100.0)
    probe = item()

    assert not wants_probe(circuit, 104.9)
    assert wants_probe(circuit, 105.0)
    circuit.probe_with(probe)
    assert not wants_probe(circuit, 107.0)
    assert circuit.failed(probe)
    assert (circuit.is_open, circuit.failed_probes, circuit.unanswered_probes) == (True, 1, 0)
    assert not wants_probe(circuit, 111.9)
    assert wants_probe(circuit, 112.0)


def test_a_probe_that_does_not_end_is_not_waited_for_and_the_next_come_later_and_later() -> None:
    circuit = opened(now=0.0)
    started = []
    for now in range(400):
        if wants_probe(circuit, now):
            circuit.probe_with(item(now))
            started.append(now)

    assert started == [5, 10, 20, 40, 80, 160, 240, 320]
    assert circuit.unanswered_probes == 8


@given(latest=st.integers(0, 3))
def test_any_of_the_probes_that_succeeds_closes_it_and_the_others_say_nothing_more(latest: int) -> None:
    circuit = opened(now=0.0)
    probes = items(4)
    for now, probe in zip((5, 10, 20, 40), probes, strict=True):
        assert wants_probe(circuit, now)
        circuit.probe_with(probe)
    circuit.succeeded([probes[latest]])

    assert not circuit.is_open
    for probe in probes:
        assert not circuit.failed(probe)
    assert (circuit.failed_probes, circuit.unanswered_probes) == (0, 0)


def test_when_those_that_hung_have_ended_probes_come_as_often_as_before() -> None:
    circuit = opened(now=0.0)
    hung, last = item(), item()
    circuit.observe(5.0)
    circuit.probe_with(hung)
    circuit.observe(10.0)
    circuit.probe_with(last)
    circuit.gave_up(hung)
    circuit.failed(last)

    assert not wants_probe(circuit, 14.9)
    assert wants_probe(circuit, 15.0)


def test_a_probe_that_succeeds_closes_it_and_the_count_begins_anew() -> None:
    circuit = opened(now=100.0)
    circuit.observe(105.0)
    probe = item()
    circuit.probe_with(probe)
    circuit.observe(107.0)

    circuit.succeeded([item(), probe])

    assert not circuit.is_open
    assert circuit.take_changes() == [CircuitChanged(False, 10, 10, 0, 7.0)]
    assert not any(circuit.failed(item()) for _ in range(9))


def test_what_still_ran_when_it_opened_neither_closes_it_nor_is_let_go() -> None:
    circuit = opened()
    circuit.succeeded(items(50))

    assert circuit.failed(item())
    assert (circuit.is_open, circuit.failed_probes) == (True, 0)

    circuit.observe(200.0)
    circuit.probe_with(item())
    circuit.succeeded(items(50))
    assert circuit.is_open


def test_a_probe_that_was_cancelled_says_nothing_and_another_follows() -> None:
    circuit = opened(now=100.0)
    circuit.observe(105.0)
    probe = item()
    circuit.probe_with(probe)
    circuit.gave_up(item())
    circuit.gave_up(probe)

    assert (circuit.is_open, circuit.failed_probes, circuit.wants_probe) == (True, 0, False)
    circuit.observe(110.0)
    assert circuit.wants_probe


@given(
    outcomes=st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=60),
    share=st.sampled_from([0.1, 0.5, 0.9]),
    window=st.integers(2, 12),
)
def test_it_is_open_exactly_when_a_naive_count_says_so(
    outcomes: list[tuple[bool, int]], share: float, window: int
) -> None:
    circuit = FailureCircuit(CircuitPolicy(share, window))
    naive: list[bool] = []
    for is_failure, count in outcomes:
        if is_failure:
            naive.append(True)
            circuit.failed(item())
        else:
            naive += [False] * count
            circuit.succeeded(items(count))
        last = naive[-window:]
        should_open = is_failure and len(last) == window and sum(last) > share * window
        assert circuit.is_open == should_open
        if should_open:
            return


@given(outcomes=st.lists(st.booleans(), max_size=40), window=st.integers(1, 6), share=st.sampled_from((0.2, 0.5, 0.8)))
def test_it_opens_exactly_when_the_last_outcomes_of_a_full_window_say_so(
    outcomes: list[bool], window: int, share: float
) -> None:
    circuit = FailureCircuit(CircuitPolicy(failure_share=share, window=window, probe_seconds=5.0))
    for count, is_failure in enumerate(outcomes, start=1):
        last = outcomes[max(0, count - window) : count]
        if not is_failure:
            circuit.succeeded([item()])
            continue
        is_expected = len(last) == window and sum(last) > share * window
        assert circuit.failed(item()) is is_expected
        if is_expected:
            return
