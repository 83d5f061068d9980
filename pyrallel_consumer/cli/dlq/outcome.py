"""The outcome of a replay: every letter is in exactly one of its counts; it decides the exit code. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MOST_NAMED: Final = 5
"""Letters that are named one by one; all are counted."""


@dataclass(slots=True)
class Outcome:
    """Letters by outcome. ``replayed`` were acknowledged; with ``is_dry_run`` they would have been sent.

    ``not_replayable`` can never go back, ``failed`` were refused by the broker, ``uncommitted`` were acknowledged but
    could not be noted as such and would be sent again (they are ``replayed`` too). ``not_sent`` were chosen when the
    replay was stopped; ``not_read`` counts offsets. ``next_offsets`` has the committed offsets, by partition.
    """

    dlq_topic: str
    group: str
    is_dry_run: bool
    read: int = 0
    replayed: int = 0
    already_replayed: int = 0
    not_selected: int = 0
    over_max_replays: int = 0
    not_replayable: int = 0
    failed: int = 0
    uncommitted: int = 0
    replayed_to: Counter[str] = field(default_factory=Counter)
    next_offsets: dict[int, int] = field(default_factory=dict)
    not_sent: int = 0
    not_read: int = 0
    stopped_because: str | None = None
    is_signalled: bool = False
    error: str | None = None
    _named: list[str] = field(default_factory=list)

    def name(self, letter: str, why: str) -> None:
        """A letter that stays behind, and why."""
        if len(self._named) < MOST_NAMED:
            self._named.append(f"{letter} stays: {why}")

    @property
    def is_ok(self) -> bool:
        return not (self.not_replayable or self.failed or self.uncommitted or self.error or self.is_signalled)

    def sentences(self) -> Sequence[str]:
        """The summary at the end, one line each."""
        stay = self.not_replayable + self.failed
        unnamed = stay - len(self._named)
        named = [*self._named, f"and {unnamed:,} more"] if self._named and unnamed > 0 else self._named
        verb = "would be replayed" if self.is_dry_run else "replayed"
        to = ", ".join(f"{count:,} to {topic}" for topic, count in sorted(self.replayed_to.items()))
        counts = [
            (self.already_replayed, "were replayed before"),
            (self.not_selected, "not selected by the filter"),
            (self.over_max_replays, "skipped: replayed --max-replays times already"),
            (self.not_replayable, "cannot be replayed"),
            (self.failed, "refused by the broker"),
            (self.uncommitted, "arrived, but that could not be committed: they would be sent again"),
        ]
        lines = [*named, f"{self.replayed:,} {verb}{f' ({to})' if to else ''}"]
        lines += [f"{count:,} {what}" for count, what in counts if count]
        if self.stopped_because:
            left = f"{self.not_read:,} offsets of {self.dlq_topic} were not read, {self.not_sent:,} letters not sent"
            lines.append(f"stopped: {self.stopped_because}; {left}")
        if self.next_offsets and not self.is_dry_run:
            stands = ", ".join(f"{number}: {offset}" for number, offset in sorted(self.next_offsets.items()))
            and_now = "; the same command goes on from there" if self.stopped_because or self.error else ""
            lines.append(f"group {self.group} stands at (partition: offset) {stands}{and_now}")
        return lines

    def to_json(self) -> Mapping[str, object]:
        """The object that ``--json`` prints."""
        return {
            "ok": self.is_ok,
            "dlq_topic": self.dlq_topic,
            "group": self.group,
            "dry_run": self.is_dry_run,
            "read": self.read,
            "replayed": self.replayed,
            "replayed_to": dict(self.replayed_to),
            "already_replayed": self.already_replayed,
            "not_selected": self.not_selected,
            "over_max_replays": self.over_max_replays,
            "not_replayable": self.not_replayable,
            "failed": self.failed,
            "uncommitted": self.uncommitted,
            "not_sent": self.not_sent,
            "not_read": self.not_read,
            "next_offsets": {str(number): offset for number, offset in sorted(self.next_offsets.items())},
            "stopped_because": self.stopped_because,
            "error": self.error,
        }
