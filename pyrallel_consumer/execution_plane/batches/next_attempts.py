"""The next attempts of messages that failed before, and are not done. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyrallel_consumer.dto import WorkItem


class NextAttempts:
    """By root: the item of the next attempt, and how often the message was put off without a charge."""

    def __init__(self) -> None:
        self._by_root: dict[WorkItem, tuple[WorkItem, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_root)

    def of(self, root: WorkItem) -> tuple[WorkItem, int]:
        """The item of the next attempt of ``root``, and how often it was put off."""
        return self._by_root.get(root, (root, 0))

    def items(self, roots: Sequence[WorkItem]) -> Sequence[WorkItem]:
        """The items of the next attempts of ``roots``."""
        again = self._by_root
        return [again[root][0] if root in again else root for root in roots] if again else roots

    def note(self, root: WorkItem, *, is_charged: bool) -> None:
        """The attempt of ``root`` failed, and there is another one. ``is_charged``: the failed attempt counts."""
        item, put_off = self.of(root)
        self._by_root[root] = (item.next_attempt(), put_off) if is_charged else (item.same_attempt(), put_off + 1)

    def forget(self, roots: Iterable[WorkItem]) -> None:
        """These messages have no further attempt."""
        if self._by_root:
            for root in roots:
                self._by_root.pop(root, None)
