"""The series of all consumers that share a registry or endpoint: numbers by metric and labels, merged by labels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pyrallel_consumer.observability.metrics.families import Family, Merge

GROUP = "group"
"""The label that distinguishes consumers of several groups, if it is enabled."""
_MERGES: Mapping[Merge, Callable[[Any, Any], Any]] = {Merge.SUM: operator.add, Merge.MAX: max, Merge.MIN: min}


class HasNumbers(Protocol):
    """One consumer. ``note_failure`` gets the error if its numbers cannot be read."""

    @property
    def group(self) -> str: ...
    @property
    def has_group_label(self) -> bool: ...
    @property
    def metrics(self) -> Callable[[], Mapping[str, Any]]: ...
    @property
    def note_failure(self) -> Callable[[str, Exception], None]: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A consumer that shows its numbers only."""

    group: str
    has_group_label: bool
    metrics: Callable[[], Mapping[str, Any]]
    note_failure: Callable[[str, Exception], None]


AllMeasured: TypeAlias = Callable[[], Sequence[HasNumbers]]
"""The consumers of one place, as they are now."""


class Series:
    """The numbers of all these consumers at one moment. With ``is_by_group`` the first label is the group."""

    def __init__(self, measured: Sequence[HasNumbers]) -> None:
        self.is_by_group = any(each.has_group_label for each in measured)
        self._numbers = [((each.group,) if self.is_by_group else (), _numbers(each)) for each in measured]

    def labels(self, family: Family) -> tuple[str, ...]:
        """Names of the labels, in the order of their values."""
        return (GROUP, *family.labels) if self.is_by_group else family.labels

    def of(self, family: Family) -> dict[tuple[str, ...], Any]:
        """Number by the values of the labels."""
        merged: dict[tuple[str, ...], Any] = {}
        for group, numbers in self._numbers:
            for labels, value in _labelled(family, numbers.get(family.name)):
                place = group + labels
                before = merged.get(place)
                merged[place] = value if before is None else _MERGES[family.merge](before, value)
        return merged


def _numbers(measured: HasNumbers) -> Mapping[str, Any]:
    """The consumer's numbers, empty if they cannot be read: the other consumers are shown all the same."""
    try:
        return measured.metrics()
    except Exception as error:  # noqa: BLE001 -- pictures end nothing: see ``Pictures``
        measured.note_failure("/metrics", error)
        return {}


def _labelled(family: Family, figure: Any) -> Iterable[tuple[tuple[str, ...], Any]]:
    if figure is None:
        return ()
    if not family.labels:
        return [((), figure)]
    return _by_labels(figure)


def _by_labels(figure: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for labels, value in figure.items():
        yield (labels,) if isinstance(labels, str) else tuple(map(str, labels)), value
