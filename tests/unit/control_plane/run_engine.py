"""An engine that keeps the order of a key itself; its machine decides how slow and how unlucky it is.

Of each key, only the first sent item is begun; when it has succeeded, the next is begun. After any other end all sent
items are doomed, and so are items that are sent before the rest has come back: they are given back unbegun, at any
time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.unit.control_plane.work_model import Running


@dataclass(eq=False)
class SentRun:
    """The unfinished items that were sent for one virtual partition, in this order. ``doomed`` are the last of them."""

    sent: list[Running] = field(default_factory=list)
    doomed: list[Running] = field(default_factory=list)
    is_broken: bool = False

    @property
    def begun(self) -> Running | None:
        """The item that runs, or waits for its next attempt."""
        return self.sent[0] if self.sent and self.sent[0] not in self.doomed else None


class RunEngine:
    """``on_begin`` is called with each attempt that begins. Reports wait in the three lists until they are taken."""

    def __init__(self, on_begin: Callable[[Running], None]) -> None:
        self.runs: dict[object, SentRun] = {}
        self.succeeded: list[Running] = []
        self.failed: list[Running] = []
        self.cancelled: list[Running] = []
        self._on_begin = on_begin

    @property
    def has_setbacks(self) -> bool:
        return bool(self.failed or self.cancelled)

    @property
    def begun(self) -> list[Running]:
        return [run.begun for run in self.runs.values() if run.begun is not None]

    @property
    def doomed(self) -> list[Running]:
        return [running for run in self.runs.values() for running in run.doomed]

    def submit(self, running: Running) -> None:
        run = self.runs.setdefault(_run_of(running), SentRun())
        run.sent.append(running)
        if run.is_broken:
            run.doomed.append(running)
        elif run.begun is running:
            self._on_begin(running)

    def end_well(self, running: Running) -> Running | None:
        """End the attempt of a begun item. Returns the next item of its run, if that begins now."""
        run = self._take_out(running)
        self.succeeded.append(running)
        if run.begun is not None:
            self._on_begin(run.begun)
        return run.begun

    def fail(self, running: Running, *, is_tried_again: bool) -> None:
        """One that is begun."""
        self._break(running)
        if not is_tried_again:
            self._take_out(running)
            self.failed.append(running)

    def give_back(self, running: Running) -> None:
        """End any item: it is doomed, or cancelled, begun or not."""
        self._break(running)
        run = self._take_out(running)
        if running in run.doomed:
            run.doomed.remove(running)
        self.cancelled.append(running)

    def _break(self, running: Running) -> None:
        run = self.runs[_run_of(running)]
        run.is_broken = True
        behind = run.sent[run.sent.index(running) + 1 :]
        run.doomed += [sent for sent in behind if sent not in run.doomed]

    def _take_out(self, running: Running) -> SentRun:
        run = self.runs[_run_of(running)]
        run.sent.remove(running)
        if not run.sent:
            del self.runs[_run_of(running)]
        return run


def _run_of(running: Running) -> object:
    origin = running.item.origin
    return origin if origin.is_ordered else running.item
