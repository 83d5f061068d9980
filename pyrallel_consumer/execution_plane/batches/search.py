"""The search for the message at fault in a batch that failed as a whole: by halves, down to single messages. Pure.

One part is tried at a time. A part that fails is cut in two, between keys if it holds several. Halves that share a
key are tried one after the other: the second begins only after the first succeeded. If both halves fail, their cause
is common, and they are tried together again after a wait; after ``most_rounds`` rounds the search goes on down.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

T = TypeVar("T")


@dataclass(slots=True)
class Halves(Generic[T]):
    """The halves of a failed part. ``is_one_key``: ``right`` may begin only when ``left`` has succeeded."""

    left: list[T]
    right: list[T]
    is_one_key: bool


@dataclass(slots=True)
class _Pair(Generic[T]):
    """Halves under trial. ``left_error`` is the left half's error, until the outcome of the right half."""

    halves: Halves[T]
    left_error: BaseException | None = None
    left_size: int = 0
    """How many items the left one had when it failed; some may have gone since."""
    is_left_tried: bool = False

    @property
    def part(self) -> list[T]:
        return self.halves.right if self.is_left_tried else self.halves.left


class Search(Generic[T]):
    """Begins with the failure of ``items``, at least two, each key's in their order.

    ``key_of`` returns None for an item without order. ``part`` is the next part to try, empty when the search is over.
    The caller reports its outcome with ``passed`` or ``failed``. Both return the items that are found to fail alone,
    each with its error. The caller removes the later items of their keys with ``drop``.
    """

    def __init__(self, items: Sequence[T], key_of: Callable[[T], Hashable | None], most_rounds: int) -> None:
        self.rounds = 0
        """How often both halves failed and were taken for one common failure."""
        self.is_waiting = False
        """Whether ``part`` must be tried only after a wait, because the cause is common. The caller clears it."""
        self._key_of = key_of
        self._most_rounds = most_rounds
        self._together: list[T] = []
        self._pairs: list[_Pair[T]] = [_Pair(cut(items, key_of))]

    @property
    def part(self) -> list[T]:
        """The next part to try, at least one item; empty when nothing is left."""
        if self._together:
            return self._together
        return self._pairs[-1].part if self._pairs else []

    @property
    def items(self) -> list[T]:
        """All items without an outcome, including ``part``; the items of a key in their order."""
        pairs = reversed(self._pairs)  # For one key, the halves that were cut last come first.
        left = [item for pair in pairs for half in (pair.halves.left, pair.halves.right) for item in half]
        return [*self._together, *left]

    def passed(self) -> list[tuple[T, BaseException]]:
        """``part`` has an outcome for each of its items."""
        if self._together:
            self._together = []
            return self._tidied()
        pair = self._pairs[-1]
        if pair.is_left_tried:
            pair.halves.right = []
        else:
            pair.halves.left = []
        return self._tidied()

    def failed(self, error: BaseException) -> list[tuple[T, BaseException]]:
        """``part`` failed as a whole."""
        if self._together:
            together, self._together = self._together, []
            return self._cut(together, error)
        pair = self._pairs[-1]
        halves = pair.halves
        if not pair.is_left_tried:
            pair.is_left_tried = True
            if not halves.is_one_key:
                pair.left_error, pair.left_size = error, len(halves.left)
                return self._tidied()
            left, halves.left = halves.left, []
            return self._cut(left, error)
        self._pairs.pop()
        if pair.left_error is None:
            return self._cut(halves.right, error)
        if self.rounds < self._most_rounds:
            self.rounds += 1
            self.is_waiting = True
            self._together = [*halves.left, *halves.right]
            return []
        return self._cut(halves.right, error) + self._cut(halves.left, pair.left_error, pair.left_size)

    def drop(self, gone: Container[T]) -> list[tuple[T, BaseException]]:
        """These items have their own outcome, or are given back; none of them is in a ``part`` that is being tried."""
        self._together = [item for item in self._together if item not in gone]
        for pair in self._pairs:
            halves = pair.halves
            halves.left = [item for item in halves.left if item not in gone]
            halves.right = [item for item in halves.right if item not in gone]
        return self._tidied()

    def _cut(self, items: list[T], error: BaseException, tried: int = 0) -> list[tuple[T, BaseException]]:
        """Go on with ``items``, of which ``tried`` (default: all) failed together with ``error``."""
        if len(items) == 1 and tried <= 1:
            return [(items[0], error), *self._tidied()]
        halves = cut(items, self._key_of) if len(items) > 1 else Halves(items, [], is_one_key=False)
        self._pairs.append(_Pair(halves))
        return []

    def _tidied(self) -> list[tuple[T, BaseException]]:
        """Go on to a part that is not empty; the success or absence of the right half decides about the left one."""
        while self._pairs and not self._together and not (pair := self._pairs[-1]).part:
            if not pair.is_left_tried:
                pair.is_left_tried = True
                continue
            self._pairs.pop()
            if pair.left_error is not None and pair.halves.left:
                return self._cut(pair.halves.left, pair.left_error, pair.left_size)
        if not self._together:
            self.is_waiting = False
        return []


def cut(items: Sequence[T], key_of: Callable[[T], Hashable | None]) -> Halves[T]:
    """Halves of at least two items, each with at least one, at the border between keys that is nearest to the middle.

    Keys stand in the order of their first items; the items of one key stay together and in order. A single key's are
    cut in their middle.
    """
    groups: dict[Hashable, list[T]] = {}
    for place, item in enumerate(items):
        key = key_of(item)
        groups.setdefault((False, place) if key is None else (True, key), []).append(item)
    middle = len(items) / 2
    if len(groups) == 1:
        return Halves(list(items[: len(items) // 2]), list(items[len(items) // 2 :]), is_one_key=True)
    by_key = list(groups.values())
    borders: list[int] = []
    before = 0
    for group in by_key[:-1]:
        before += len(group)
        borders.append(before)
    border = min(range(len(borders)), key=lambda nth: abs(borders[nth] - middle))
    left, right = by_key[: border + 1], by_key[border + 1 :]
    return Halves(
        [item for group in left for item in group], [item for group in right for item in group], is_one_key=False
    )
