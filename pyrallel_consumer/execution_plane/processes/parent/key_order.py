"""The runs of one engine that keeps order: the submitted items of each ordered origin, and which may begin. Pure.

Items are identified by their roots, as in ``Attempts``. The first item of a run may begin; every other one when all
before it have succeeded. When one ends in any other way, the run is broken. Then all items behind it are *doomed*: they
are given back unbegun. So are later items of the origin, until no item of the run is left.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem


class Run:
    """The items of one origin that are in flight, in the order of submission; ``number`` is never used again.

    ``doomed`` items must be given back unbegun; None: the run is not broken.
    ``place`` is for engines that must keep a run together: the place of the items in ``placed``, None without any.
    """

    __slots__ = ("doomed", "items", "number", "place", "placed")

    def __init__(self, root: WorkItem, number: int) -> None:
        self.items = [root]
        self.number = number
        self.doomed: set[WorkItem] | None = None
        self.place: object = None
        self.placed: set[WorkItem] = set()


class KeyOrder:
    """An item whose origin is not ordered is not kept here: it is a run of its own."""

    def __init__(self) -> None:
        self.by_origin: dict[object, Run] = {}
        """Only to be read."""
        self._numbers = itertools.count(1)

    def add(self, root: WorkItem) -> bool:
        """``root`` is submitted. Returns False if it is behind an item that broke its run, and so doomed at once."""
        origin = root.origin
        if not origin.is_ordered:
            return True
        run = self.by_origin.get(origin)
        if run is None:
            self.by_origin[origin] = Run(root, next(self._numbers))
            return True
        run.items.append(root)
        if run.doomed is None:
            return True
        run.doomed.add(root)
        return False

    def of(self, root: WorkItem) -> Run | None:
        """The run of ``root``, None if it is not ordered."""
        return self.by_origin.get(root.origin)

    def is_first(self, root: WorkItem) -> bool:
        """Whether ``root`` is the first of its run."""
        run = self.by_origin.get(root.origin)
        return run is None or run.items[0] is root

    def is_doomed(self, root: WorkItem) -> bool:
        """Whether ``root`` must be given back as soon as the engine has it."""
        run = self.by_origin.get(root.origin)
        return run is not None and run.doomed is not None and root in run.doomed

    def unplaced(self, root: WorkItem) -> None:
        """``root`` is no longer in the place of its run."""
        run = self.by_origin.get(root.origin)
        if run is not None:
            _unplace(run, root)

    def succeeded(self, root: WorkItem) -> WorkItem | None:
        """``root`` is done; returns the item that may begin now."""
        run = self.left(root)
        if run is None:
            return None
        following = run.items[0]
        return None if run.doomed is not None and following in run.doomed else following

    def broke(self, root: WorkItem, *, is_final: bool) -> list[WorkItem]:
        """An attempt of ``root`` did not succeed. Returns the items that are doomed by that, in order.

        ``is_final``: ``root`` has its completion, and there is no further attempt.
        """
        run = self.by_origin.get(root.origin)
        if run is None:
            return []
        behind = run.items[run.items.index(root) + 1 :]
        doomed = run.doomed = run.doomed or set()
        found = [item for item in behind if item not in doomed]
        doomed.update(found)
        _unplace(run, root)
        if is_final:
            self.left(root)
        return found

    def left(self, root: WorkItem) -> Run | None:
        """``root`` has ended in any way; returns its run, if items of it are left."""
        run = self.by_origin.get(root.origin)
        if run is None:
            return None
        items = run.items
        if items[0] is root:
            del items[0]
        else:
            items.remove(root)
        if run.doomed is not None:
            run.doomed.discard(root)
        placed = run.placed  # ``_unplace``, inlined because every message passes here: see ``RunQueue``
        placed.discard(root)
        if not placed:
            run.place = None
        if not items:
            del self.by_origin[root.origin]
            return None
        return run


def _unplace(run: Run, root: WorkItem) -> None:
    run.placed.discard(root)
    if not run.placed:
        run.place = None
