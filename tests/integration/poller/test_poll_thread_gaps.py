"""A poll thread that stood still while the loop went on reports the gap to the loop."""

from __future__ import annotations

import time

from pyrallel_consumer.control_plane.events import Assigned, PollThreadFroze
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.poller.loop_side import Member, running

LONG_SECONDS = 1_000.0
"""Longer than any turn of the thread, on a busy machine too."""


class Clock:
    """A clock that advances by ``gap`` seconds with each look."""

    def __init__(self) -> None:
        self.gap = 0.0
        self._passed = 0.0

    def __call__(self) -> float:
        self._passed += self.gap
        return time.monotonic() + self._passed


def test_a_gap_is_told_with_the_number_of_the_last_commit_before_its_end() -> None:
    clock = Clock()
    with EmbeddedBroker({"orders": 1}) as broker:
        policy = PollerPolicy(gap_seconds=LONG_SECONDS)
        member = Member(broker, "orders", "group-of-a-poller", policy=policy, boot_clock=clock)
        with running(member):
            member.side.until(lambda: member.side.of(Assigned))
            assert not member.side.of(PollThreadFroze)
            member.commit(3, member.side.snapshots())

            clock.gap = 2 * LONG_SECONDS
            member.side.until(lambda: member.side.of(PollThreadFroze))

            fact = member.side.of(PollThreadFroze)[0]
            assert fact.last_commit == 3
            assert fact.seconds >= LONG_SECONDS
            clock.gap = 0.0
            member.close()
