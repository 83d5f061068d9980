"""How far a worker process is that runs items one by one: which item runs, since when, up to which all have ended.

The process writes this into memory that it shares with the engine; see ``shared_marker``.
"""

from __future__ import annotations

from pyrallel_consumer.execution_plane.processes.shared_marker import OWN_TIME, SharedMarker

_RUNNING, _DONE = 1, 2


class ProgressMarker(SharedMarker):
    """Maps the file ``fd``, which stays open until ``close``. ``None`` makes a new one, of zeros."""

    def __init__(self, fd: int | None = None) -> None:
        super().__init__(3, fd)

    # The process writes

    def begin(self, number: int, now: float) -> None:
        """Item ``number`` begins at ``now`` (``time.monotonic``, the same clock in all processes of a machine)."""
        self._times[OWN_TIME] = now
        self._words[_RUNNING] = number

    def end(self, number: int) -> None:
        """All items up to ``number`` have returned, or were told otherwise before this call."""
        self._words[_DONE] = number

    def begin_nothing(self) -> None:
        """The item of the last ``begin`` does not begin after all."""
        self._words[_RUNNING] = 0

    # Both read

    @property
    def running(self) -> int:
        """The item that began last, 0 for none; it has ended if ``done`` is not lower."""
        return self._words[_RUNNING]

    @property
    def since(self) -> float:
        return self._times[OWN_TIME]

    @property
    def done(self) -> int:
        return self._words[_DONE]
