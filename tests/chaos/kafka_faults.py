"""Faults of Kafka itself, which its log shows. Their consequences are not taken for faults of the library.

One is known, of Kafka 4.3.1: a group coordinator that becomes active before it has loaded its log. If a broker
loses the leadership of a partition of ``__consumer_offsets`` and gets it back while it loads that partition, the end of
the first load activates the coordinator of the second one, whose load has just begun: ``CoordinatorRuntime.load`` finds
the coordinator by its partition alone. It then writes what a group without a past would write. The first such write
shows the fault and the log is loaded again, but the write stays: the group's epoch is lower now than that of its
assignment. Until it has grown beyond it, no member is assigned anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_OUT_OF_SYNC: Final = re.compile(
    r"(?P<at>\S+) .*The state machine of the coordinator (?P<log>\S+) is out of sync with the underlying log. "
    r"The last written offset returned is (?P<found>\d+) while the coordinator expected (?P<expected>\d+)"
)


def coordinators_active_too_early(broker_log: Iterable[str]) -> list[str]:
    """Each time that a coordinator was active before it had loaded its log, for people, from a broker's log."""
    return [
        f"{found['at']}: the coordinator of {found['log']} was active before it had loaded its log: "
        f"it wrote offset {found['found']} for {found['expected']}"
        for line in broker_log
        if (found := _OUT_OF_SYNC.match(line)) is not None
    ]
