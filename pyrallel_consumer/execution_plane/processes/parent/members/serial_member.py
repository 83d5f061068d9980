"""A worker process that runs one item after another, as the process engine sees it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.processes.parent.members.sent_items import SentItems
from pyrallel_consumer.execution_plane.processes.parent.process_pool import Member

if TYPE_CHECKING:
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.processes.parent.child_process import ChildProcess
    from pyrallel_consumer.execution_plane.processes.progress_marker import ProgressMarker


class SerialMember(Member):
    """The process and its sent items. ``max_tasks`` = 0 is no limit."""

    def __init__(self, child: ChildProcess, marker: ProgressMarker, max_tasks: int) -> None:
        super().__init__(child)
        self.marker = marker
        self.max_tasks = max_tasks
        self.sent = SentItems()
        self.bound: deque[Attempt] = deque()
        """Attempts that wait for this process and may go to no other; see ``Backlog``."""
        self.failures_seen = 0
        self.recalled_at: float | None = None

    @property
    def is_busy(self) -> bool:
        return len(self.sent) > 0

    @property
    def seconds_ahead(self) -> float:
        """Seconds of work in its sent items and in the items that wait for it."""
        return self.sent.seconds_ahead + len(self.bound) * self.sent.seconds_each
