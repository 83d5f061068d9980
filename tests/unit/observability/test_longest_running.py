"""A third party's engine that does not report its longest attempts: the running messages are shown all the same."""

from __future__ import annotations

from collections.abc import Callable

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.engine import RunningAttempt
from pyrallel_consumer.testing.messages import work_item
from tests.third_party_engine import ThirdPartyEngine


class Untimed(ThirdPartyEngine):
    def submit(self, item: WorkItem) -> None:
        self.submitted.append(item)

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        return sum(1 for item in self.submitted if which is None or which(item))


def test_what_runs_is_told_without_times_up_to_the_bound() -> None:
    engine = Untimed()
    items = [work_item(offset=offset, attempt=3) for offset in range(5)]
    for item in items:
        engine.submit(item)
    assert engine.longest_running(3) == [RunningAttempt(item, 3, None) for item in items[:3]]
