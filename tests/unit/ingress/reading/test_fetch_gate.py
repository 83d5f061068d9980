"""The fetch gate: read while it is allowed, hold back for a moment, pause when that lasts."""

from __future__ import annotations

from pyrallel_consumer.ingress.reading.fetch_gate import FetchGate, GateState


def test_with_credit_the_gate_is_open() -> None:
    assert FetchGate().step(credit=1, now=0.0, partitions=1) is GateState.READ


def test_a_short_want_of_credit_is_waited_out_and_a_long_one_pauses() -> None:
    gate = FetchGate(hold_seconds=0.25)

    assert gate.step(credit=0, now=10.0, partitions=1) is GateState.HOLD
    assert gate.hold_remaining(10.0) == 0.25
    assert gate.step(credit=0, now=10.125, partitions=1) is GateState.HOLD
    assert gate.hold_remaining(10.125) == 0.125
    assert gate.step(credit=-3, now=10.25, partitions=1) is GateState.PAUSED
    assert gate.hold_remaining(10.5) == 0.0


def test_credit_opens_the_gate_at_once_and_the_next_want_of_it_is_waited_out_again() -> None:
    gate = FetchGate(hold_seconds=0.25)
    gate.step(credit=0, now=0.0, partitions=1)
    assert gate.step(credit=0, now=1.0, partitions=1) is GateState.PAUSED

    assert gate.step(credit=5, now=1.0, partitions=1) is GateState.READ
    assert gate.hold_remaining(1.0) == 0.0
    assert gate.step(credit=0, now=2.0, partitions=1) is GateState.HOLD
