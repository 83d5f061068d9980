"""A grant wakes a sleeping poll thread if it allows more, and only then."""

from __future__ import annotations

import pytest

from pyrallel_consumer.ingress.broker_poller import BrokerPoller, PollerPolicy
from pyrallel_consumer.ingress.reading.subscription import parse_topic


@pytest.mark.parametrize(("before", "total", "wakes"), [(5, 6, 1), (5, 5, 0), (5, 4, 0)])
def test_a_sleeping_poll_thread_is_woken_only_where_more_is_granted(before: int, total: int, wakes: int) -> None:
    configuration = {"bootstrap.servers": "127.0.0.1:1", "group.id": "group"}
    poller = BrokerPoller(
        configuration, subscription=parse_topic("orders", None), deliver=lambda _: None, policy=PollerPolicy()
    )
    poller.grant(before)
    sleeping = poller._inner  # noqa: SLF001 -- never started: it stands for one that sleeps
    sleeping.is_held = True

    poller.grant(total)

    assert sleeping.granted == total
    assert sleeping.commands.qsize() == wakes
