"""How seldom Python looks for garbage while consumers run.

CPython goes through its youngest objects whenever there are so many more than the last time: 700, from 3.13 on 2,000. A
consumer holds thousands of messages, each for a moment, so that the collector goes through them again and again and
finds nothing: a sixth of all CPU with thousands of workers that wait, in a slow hour a third.
"""

from __future__ import annotations

import gc
import threading

_lock = threading.Lock()
_wanted: list[int] = []
"""What the consumers of this process that run ask for."""


class _Raised:
    """The threshold as we found it and as we set it; alike where nothing is raised."""

    before = after = 0


class RaisedThreshold:
    """Raises the threshold to ``objects``, from its making to ``release``; for any thread.

    It is the process's, so it is never lowered, a collector that is off stays off, and when the last one is released it
    is as before, unless somebody else has set it meanwhile. Where several are wanted the highest holds.
    """

    def __init__(self, objects: int) -> None:
        self._objects = objects
        self._is_released = False
        with _lock:
            _wanted.append(objects)
            _adjust()

    def release(self) -> None:
        """It is no longer needed here."""
        with _lock:
            if not self._is_released:
                self._is_released = True
                _wanted.remove(self._objects)
                _adjust()


def _adjust() -> None:
    now, *older = gc.get_threshold()
    before = _Raised.before if now == _Raised.after else now
    after = max([before, *_wanted]) if before else 0
    if after != now:
        gc.set_threshold(after, *older)
    _Raised.before, _Raised.after = before, after
