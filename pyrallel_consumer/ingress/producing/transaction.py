"""``Transaction``: one transaction on its way from the poll thread to the producer's thread, and its outcome.

Either thread may call it. The poll thread may *disown* it until its commit begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError

from pyrallel_consumer.control_plane.events import CommitSnapshot, Refusal
from pyrallel_consumer.dto import TopicPartition

Errors = Mapping[TopicPartition, str | None]
Told = Callable[[Errors, Sequence[Refusal]], None]

DISOWNED: Final = "_DISOWNED"
"""A partition of the transaction was revoked during it: the rest goes into the next transaction."""


class Transaction:
    """One transaction, from the poll thread to its outcome. ``ended`` is set when the outcome has been reported."""

    def __init__(self, snapshots: Sequence[CommitSnapshot], metadata: object, tell: Told) -> None:
        self.snapshots = tuple(snapshots)
        self.metadata = metadata
        self.ended = threading.Event()
        self.refusals: list[Refusal] = []
        self.failure: KafkaError | None = None
        self._tell = tell
        self._lock = threading.Lock()
        self._is_committing = False
        self._is_disowned = False

    @property
    def is_disowned(self) -> bool:
        """Whether it must be aborted."""
        return self._is_disowned

    @property
    def is_failing(self) -> bool:
        """Whether it must be aborted, for whatever reason."""
        return self._is_disowned or self.failure is not None or bool(self.refusals)

    @property
    def why(self) -> str:
        """The code of the error for which it is aborted."""
        if self.refusals:
            return self.refusals[0].code
        return DISOWNED if self.failure is None else str(self.failure.name())

    @property
    def is_committing(self) -> bool:
        """Whether its commit was requested."""
        return self._is_committing

    def disown(self, tps: Collection[TopicPartition] | None = None) -> None:
        """These partitions (default: all) are no longer assigned: abort it, unless it is being committed."""
        with self._lock:
            if not self._is_committing and (tps is None or any(each.tp in tps for each in self.snapshots)):
                self._is_disowned = True

    def begin_commit(self) -> bool:
        """From now on it cannot be disowned; returns False if it has been."""
        with self._lock:
            self._is_committing = not self._is_disowned
            return self._is_committing

    def end(self, errors: Errors, refusals: Sequence[Refusal] = ()) -> None:
        """Report the outcome."""
        self._tell(errors, refusals)
        self.ended.set()

    def failed(self, code: str) -> Errors:
        return dict.fromkeys((each.tp for each in self.snapshots), code)
