"""A worker process with an event loop, as the async process engine sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.processes.parent.members.slotted_items import SlottedItems
from pyrallel_consumer.execution_plane.processes.parent.process_pool import Member

if TYPE_CHECKING:
    from pyrallel_consumer.execution_plane.processes.parent.child_process import ChildProcess
    from pyrallel_consumer.execution_plane.processes.slot_marker import SlotMarker


class LoopMember(Member):
    """The process and its sent messages. ``max_tasks`` = 0 is no limit."""

    def __init__(self, child: ChildProcess, marker: SlotMarker, slots: int, max_tasks: int) -> None:
        super().__init__(child)
        self.marker = marker
        self.sent = SlottedItems(slots, marker)
        self.max_tasks = max_tasks
        self.recalled_at: float | None = None
        self.was_unbegun = False
        """Whether the last sent message had not begun at the last look."""
        self.hung_at: float | None = None
        """``turned_at`` when its loop was found to hang."""
        self.why_killed: str | None = None

    @property
    def is_busy(self) -> bool:
        return len(self.sent) > 0

    @property
    def room(self) -> int:
        """How many more messages this process may be sent now."""
        if not self.may_be_sent or self.recalled_at is not None:
            return 0
        return self.sent.room if not self.is_set_aside else 1 - len(self.sent)
