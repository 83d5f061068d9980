"""How rarely Python's garbage collector runs while consumers run.

CPython checks its youngest objects after a number of new ones: 700, from 3.13 on 2,000. A consumer holds thousands of
messages, each for a moment, so the collector checks them again and again and finds nothing. With thousands of waiting
workers this takes a sixth of all CPU, and on a slow machine a third.
"""

from __future__ import annotations

import gc
import threading

_lock = threading.Lock()
_wanted: list[int] = []
"""The thresholds that the running consumers of this process ask for."""


class _Raised:
    """The threshold as it was and as we set it; equal if nothing is raised."""

    before = after = 0


class RaisedThreshold:
    """Raises the threshold to ``objects`` until ``release``; for any thread.

    The threshold belongs to the process. So it is never lowered, and a collector that is off stays off. When the last
    object is released, the old value is restored, unless other code has set it meanwhile. Of several wanted values the
    highest holds.
    """

    def __init__(self, objects: int) -> None:
        self._objects = objects
        self._is_released = False
        with _lock:
            _wanted.append(objects)
            _adjust()

    def release(self) -> None:
        """This consumer no longer needs it."""
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
