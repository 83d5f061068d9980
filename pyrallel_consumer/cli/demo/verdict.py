"""The demo's verdict: the guarantees, the findings, and the exit code. Pure.

The verdict uses only the ledger and offsets that an independent client read. Of the consumers' own statements it uses
one: how many partitions the second one held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pyrallel_consumer.cli.command import EXIT_FAILED, EXIT_OK
from pyrallel_consumer.cli.demo.failures import Failures


class Stopped(NamedTuple):
    """Why a run ended before its end, and the exit code that says so."""

    because: str
    exit_code: int


class Check(NamedTuple):
    """One guarantee: whether it held, and its sentence."""

    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Visit:
    """The second consumer's time in the group: how many partitions it had when it left, and how much it did."""

    partitions: int
    processed: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings of a run. ``visit`` is None if a second consumer has nothing to take (one partition).

    ``stopped`` is None if the run reached its end, ``failures`` if no order was planned to fail.
    """

    expected: int
    processed: int
    failed: int
    order_violations: int
    duplicates: int
    lag: int
    seconds: float
    worker_seconds: float
    visit: Visit | None
    stopped: Stopped | None = None
    failures: Failures | None = None

    @property
    def is_ok(self) -> bool:
        return self.stopped is None and all(check.holds for check in self.checks())

    @property
    def exit_code(self) -> int:
        if self.stopped is not None:
            return self.stopped.exit_code
        return EXIT_OK if self.is_ok else EXIT_FAILED

    @property
    def headline(self) -> str:
        if self.stopped is not None:
            return f"Incomplete: {self.stopped.because}"
        return "Every promise was kept." if self.is_ok else "A promise was broken."

    @property
    def messages_per_second(self) -> float:
        return self.processed / self.seconds if self.seconds else 0.0

    @property
    def sequential_bound_per_second(self) -> float:
        """The best possible rate of one message after the other."""
        return 1 / self.worker_seconds

    @property
    def speed_up(self) -> float:
        return self.messages_per_second / self.sequential_bound_per_second

    def checks(self) -> tuple[Check, ...]:
        """The checks that must hold for exit code 0."""
        found = [
            *(_all_processed(self) if self.failures is None else _all_accounted_for(self, self.failures)),
            _none_of(
                self.order_violations,
                "in order: every order started after its customer's earlier ones had ended",
                "out of order: {} before an earlier one of their customer had ended",
            ),
            _none_of(self.duplicates, "nothing ran twice", "{} a second time"),
            Check(
                self.lag == 0,
                "committed to the end of the log"
                if self.lag == 0
                else f"committed {self.lag:,} short of the log's end",
            ),
        ]
        if self.visit is not None:
            found.append(
                Check(
                    self.visit.partitions > 0,
                    f"a second consumer came, held {self.visit.partitions:,} partitions, processed "
                    f"{self.visit.processed:,} orders, and handed all back",
                )
            )
        return tuple(found)

    def speed(self) -> str:
        """The measured rate and the rates to compare with."""
        return (
            f"{self.messages_per_second:,.0f} orders/s over {self.seconds:.1f} s: {self.speed_up:,.0f} times the "
            f"{self.sequential_bound_per_second:,g}/s of one at a time"
        )

    def to_json(self) -> Mapping[str, object]:
        """The object that ``--json`` prints."""
        return {
            "ok": self.is_ok,
            "messages": self.expected,
            "processed": self.processed,
            "failed": self.failed,
            "retried": self.failures.retried if self.failures else 0,
            "dead_lettered": self.failures.dead_lettered if self.failures else 0,
            "order_violations": self.order_violations,
            "duplicates": self.duplicates,
            "committed_to_end": self.lag == 0,
            "seconds": round(self.seconds, 3),
            "messages_per_second": round(self.messages_per_second, 1),
            "sequential_bound_per_second": round(self.sequential_bound_per_second, 1),
            "speed_up": round(self.speed_up, 1),
            "second_consumer_partitions": self.visit.partitions if self.visit else 0,
            "second_consumer_processed": self.visit.processed if self.visit else 0,
            "stopped_because": self.stopped.because if self.stopped else None,
        }


def _all_processed(verdict: Verdict) -> tuple[Check, ...]:
    done = f"{verdict.processed:,} of {verdict.expected:,} orders processed"
    sentence = f"{done}, {verdict.failed:,} failed" if verdict.failed else done
    return (Check(verdict.processed == verdict.expected, sentence),)


def _all_accounted_for(verdict: Verdict, failures: Failures) -> tuple[Check, ...]:
    """Every order is processed or has its letter, and no order is both."""
    sums_up = verdict.processed + failures.dead_lettered == verdict.expected
    twice = f", {failures.second_letters:,} of them sent twice" if failures.second_letters else ""
    return (
        Check(
            sums_up and verdict.processed == verdict.expected - failures.poisoned,
            f"{verdict.processed:,} orders processed and {failures.dead_lettered:,} dead-lettered, "
            f"of {verdict.expected:,}",
        ),
        Check(
            failures.retried == failures.fickle,
            f"{failures.retried:,} of the {failures.fickle:,} that fail once were processed when tried again",
        ),
        Check(
            failures.dead_lettered == failures.poisoned and not failures.strange_letters,
            f"{failures.dead_lettered:,} of the {failures.poisoned:,} that always fail have their dead letter{twice}, "
            f"and {failures.strange_letters:,} others have one",
        ),
    )


def _none_of(count: int, kept: str, broken: str) -> Check:
    return Check(count == 0, broken.format(f"{count:,} ran") if count else kept)
