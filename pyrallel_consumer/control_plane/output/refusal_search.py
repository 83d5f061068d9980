"""Finds the message whose record the broker refuses in a transaction: by smaller transactions, in unchanged order.

The broker refuses a whole batch for one record in it. So the next transaction holds fewer messages, always the first
ones, down to a single one: a refusal is then certainly its own. The others wait, and are never overtaken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ENOUGH: Final = 1024
"""From this many messages on the search is over, and transactions hold all messages again."""


class RefusalSearch:
    """``most_written`` bounds the messages with records in the next transaction; None bounds nothing."""

    def __init__(self) -> None:
        self.most_written: int | None = None

    def aborted(self, written: int, refused: Sequence[int]) -> int | None:
        """A transaction of ``written`` messages was aborted; ``refused`` are the places of refused ones, ascending.

        Returns the place of the message that is to blame, None while that is unknown.
        """
        if written == 1:
            self.most_written = 1
            return 0
        first = refused[0]
        self.most_written = first or max(1, written // 2)
        return None

    def committed(self) -> None:
        """A transaction went through: the next one may be larger."""
        if self.most_written is not None:
            doubled = 2 * self.most_written
            self.most_written = doubled if doubled < ENOUGH else None
