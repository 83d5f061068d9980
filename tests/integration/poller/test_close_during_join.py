"""A poll thread closes in the middle of its first rebalance: the client may be closed only after the rebalance.

librdkafka may then wait for ever for an answer of its own, with the interpreter's lock held: the whole process stands
still, about once in a thousand times. So what is tested is that the client does not get into that state at all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.consuming import new_group
from tests.integration.poller.loop_side import DEADLINE_SECONDS, Member

ROUNDS = 24


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
def test_the_client_is_closed_when_no_rebalance_is_under_way(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    caplog: pytest.LogCaptureFixture,
    strategy: str,
) -> None:
    topic, logger, pause = new_topic(1), logging.getLogger("test.librdkafka"), threading.Event()
    settings = {"debug": "cgrp", "logger": logger, "partition.assignment.strategy": strategy}

    with caplog.at_level(logging.DEBUG, logger.name):
        for number in range(ROUNDS):
            member = Member(embedded_broker, topic, new_group(), librdkafka=settings)
            member.start()
            pause.wait(number / 1000)  # the moment of the close goes over all that happens in a join
            member.poller.close(DEADLINE_SECONDS)
            member.poller.ended.result(DEADLINE_SECONDS)

    ends = [message for record in caplog.records if "received op TERMINATE" in (message := record.getMessage())]
    assert len(ends) == ROUNDS
    assert [message for message in ends if "(join-state init)" not in message] == []
