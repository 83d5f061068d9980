"""Ordered origins with messages in a batch, and their later messages, which wait behind these. Pure.

An origin is *busy* from the moment when a batch with its messages is complete until none of them is left. Messages that
are submitted meanwhile wait *behind*. It is *broken* while one of its messages waits for another attempt of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.dto import WorkItem


class BusyOrigins:
    """Only ordered origins: messages without an order wait for nothing."""

    def __init__(self) -> None:
        self._left: dict[Any, int] = {}
        """By busy origin: how many of its messages are left, 0 while all of them are in one whole batch."""
        self._broken: set[Any] = set()
        self._behind: dict[Any, list[WorkItem]] = {}

    def __bool__(self) -> bool:
        return bool(self._left or self._broken or self._behind)

    @property
    def any_busy(self) -> bool:
        """Whether any origin is busy."""
        return bool(self._left)

    def begin(self, origins: Sequence[Any]) -> None:
        """A batch with messages of these origins is complete."""
        for origin in origins:
            origin.seal()
        self._left.update(dict.fromkeys(origins, 0))

    def put_behind(self, items: Sequence[WorkItem]) -> tuple[Sequence[WorkItem], list[WorkItem]]:
        """Put messages of busy origins behind. Returns the messages of other origins and of broken origins.

        The latter wait nowhere: they must be given back.
        """
        busy = self._left
        refused: list[WorkItem] = []
        behind = [item for item in items if item._origin in busy]
        if not behind:
            return items, refused
        for item in behind:
            if item._origin in self._broken:
                refused.append(item)
            else:
                self._behind.setdefault(item._origin, []).append(item)
        return [item for item in items if item._origin not in busy], refused

    def take_behind(self, origin: Any) -> Sequence[WorkItem]:
        """The messages that waited behind ``origin``; they wait no longer."""
        return self._behind.pop(origin, ())

    def take_matching(self, which: Callable[[WorkItem], bool]) -> list[WorkItem]:
        """The matching messages that wait behind others, with those behind them; they wait there no longer."""
        taken = []
        for origin in list(self._behind):
            items = self._behind[origin]
            for at, item in enumerate(items):
                if which(item):
                    del self._behind[origin]
                    self._behind.update({origin: items[:at]} if at else {})
                    taken += items[at:]
                    break
        return taken

    def break_off(self, origin: Any) -> None:
        """A message of ``origin`` waits for another attempt of its own."""
        self._broken.add(origin)

    def succeeded(self, origins: Sequence[Any]) -> list[Sequence[WorkItem]]:
        """All messages of these origins are done. Returns the messages behind, by origin."""
        left = self._left
        for origin in origins:
            del left[origin]
        self._broken.difference_update(origins)
        return [self._behind.pop(origin, ()) for origin in origins] if self._behind else []

    def count(self, roots: Sequence[WorkItem]) -> None:
        """From now on the messages of this whole batch leave one by one."""
        self._left.update(Counter([root._origin for root in roots if root._origin.is_ordered]))

    def leave(self, origin: Any) -> Sequence[WorkItem]:
        """A message of ``origin`` was reported. Returns the messages behind if it was the last one."""
        left = self._left.get(origin)
        if left is None:
            return ()
        if left > 1:
            self._left[origin] = left - 1
            return ()
        del self._left[origin]
        self._broken.discard(origin)
        return self._behind.pop(origin, ())


def ordered_origins(roots: Sequence[WorkItem]) -> list[Any]:
    """The ordered origins of these messages, each once, in no order."""
    return [origin for origin in {root._origin for root in roots} if origin.is_ordered]


def ordered_origin(root: WorkItem) -> Any:
    """The origin of ``root`` if it is ordered, None else."""
    origin = root._origin
    return origin if origin.is_ordered else None
