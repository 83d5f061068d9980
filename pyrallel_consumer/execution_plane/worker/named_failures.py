"""The outcome of a call in which some messages failed, on its way from the worker to the engine."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final

from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, packed_error, restored_error

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES: Final = 700_000
"""The most bytes of all errors of one batch together, on their way out of a worker process."""
_LONGEST_WORDS: Final = 200
"""How many characters are kept of an error that is larger than its share."""


class NamedFailures(Exception):  # noqa: N818 -- never seen by users: the outcome of a call, on its way to the engine
    """The messages of a batch that failed, by their places in it; at least one. The others are done."""

    def __init__(self, errors: Mapping[int, BaseException]) -> None:
        super().__init__(f"{len(errors)} messages of a batch failed")
        self.errors = dict(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        share = _MOST_BYTES // len(self.errors)
        return _unpacked, ([(place, tuple(_packed(error, share))) for place, error in self.errors.items()],)


def _packed(error: BaseException, most_bytes: int) -> PackedError:
    packed = packed_error(error)
    if len(pickle.dumps(tuple(packed))) <= most_bytes:
        return packed
    words = packed.description[:_LONGEST_WORDS]
    return PackedError(None, words, "", packed.steering, None, packed.carrier)


def _unpacked(errors: list[tuple[int, tuple[Any, ...]]]) -> NamedFailures:
    return NamedFailures({place: restored_error(PackedError(*packed)) for place, packed in errors})
