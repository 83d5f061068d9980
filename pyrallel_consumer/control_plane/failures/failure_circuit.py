"""The circuit for outages: when most messages fail permanently, a service that all of them need is down.

While the circuit is open, only a probe starts now and then, and no message is dead-lettered or skipped because of the
outage. A probe that succeeds closes the circuit. The circuit does not wait for a probe that hangs: the next probe is
due by time. Pure: the caller passes in outcomes and time, and acts on the answers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.dto import WorkItem


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """Open when more than ``failure_share`` of the last ``window`` messages failed permanently; then probe."""

    failure_share: float
    window: int = 100
    probe_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """A change to log: ``failures`` of the last ``outcomes`` messages failed; it opened ``open_seconds`` ago."""

    is_open: bool
    failures: int
    outcomes: int
    failed_probes: int
    open_seconds: float


MOST_PATIENCE: Final = 16
"""The wait for the next probe doubles with each probe that has not ended, up to this many times ``probe_seconds``: each
probe that hangs may occupy a thread forever."""


class FailureCircuit:
    """Counts final outcomes while it is closed, and asks for probes while it is open. Without a policy it never opens.

    ``failed_probes`` counts the failed probes since it opened, ``opened`` how often it has opened.
    """

    def __init__(self, policy: CircuitPolicy | None) -> None:
        self.is_open = False
        self.opened = 0
        self.failed_probes = 0
        self._policy = policy or CircuitPolicy(failure_share=1.0)
        self._is_off = policy is None
        self._outcomes: deque[list[int]] = deque()
        self._counted = 0
        self._failures = 0
        self._now = 0.0
        self._opened_at = 0.0
        self._probes: list[WorkItem] = []
        self._probe_at = 0.0
        self._changes: list[CircuitChanged] = []

    @property
    def wants_probe(self) -> bool:
        """Whether one message should start now as a probe, although the circuit is open."""
        return self.is_open and self._now >= self._probe_at

    @property
    def unanswered_probes(self) -> int:
        """Probes that have not ended."""
        return len(self._probes)

    def observe(self, now: float) -> None:
        """The time is ``now``. Call this often enough for probes to start in time."""
        self._now = now

    def probe_with(self, item: WorkItem) -> None:
        """This message was started as the probe."""
        self._probes.append(item)
        self._wait_for_the_next()

    def succeeded(self, items: Sequence[WorkItem]) -> None:
        """These messages are processed."""
        if self._is_off:
            return
        if not self.is_open:
            self._count(_SUCCESS, len(items))
        elif any(item in self._probes for item in items):
            self._close()

    def failed(self, item: WorkItem) -> bool:
        """This message failed its last attempt. Returns whether it should run again after the outage."""
        if self._is_off:
            return False
        if not self.is_open:
            self._count(_FAILURE, 1)
            is_full = self._counted >= self._policy.window
            if is_full and self._failures > self._policy.failure_share * self._counted:
                self._open()
        elif item in self._probes:
            self.failed_probes += 1
            self.gave_up(item)
        return self.is_open

    def gave_up(self, item: WorkItem) -> None:
        """The outcome of this message says nothing about an outage. If it was the probe, another probe is needed."""
        if item in self._probes:
            self._probes.remove(item)
            self._wait_for_the_next()

    def take_changes(self) -> list[CircuitChanged]:
        """The changes since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def _count(self, kind: int, count: int) -> None:
        """Add ``count`` outcomes of one kind, and forget the outcomes that are older than the window."""
        outcomes = self._outcomes
        if outcomes and outcomes[-1][0] == kind:
            outcomes[-1][1] += count
        elif count:
            outcomes.append([kind, count])
        self._counted += count
        self._failures += count * kind
        surplus = self._counted - self._policy.window
        while surplus > 0:
            oldest, many = outcomes[0]
            gone = min(many, surplus)
            surplus -= gone
            self._counted -= gone
            self._failures -= gone * oldest
            if gone == many:
                outcomes.popleft()
            else:
                outcomes[0][1] -= gone

    def _open(self) -> None:
        self.is_open = True
        self.opened += 1
        self.failed_probes = 0
        self._opened_at = self._now
        self._wait_for_the_next()
        self._tell()

    def _wait_for_the_next(self) -> None:
        patience = min(2 ** max(0, len(self._probes) - 1), MOST_PATIENCE)
        self._probe_at = self._now + patience * self._policy.probe_seconds

    def _close(self) -> None:
        self.is_open = False
        self._probes.clear()
        self._tell()
        self._outcomes.clear()
        self._counted = self._failures = 0

    def _tell(self) -> None:
        self._changes.append(
            CircuitChanged(self.is_open, self._failures, self._counted, self.failed_probes, self._now - self._opened_at)
        )


_SUCCESS: Final = 0
_FAILURE: Final = 1
