"""The present stacks of this process's threads, for warnings.

With the interpreter's lock any thread may read their frames. Without it (free-threaded builds) reading the frames of a
running thread may end the process. There ``faulthandler`` stops all threads and writes their stacks, of at most a
hundred threads and a hundred frames each.
"""

from __future__ import annotations

import faulthandler
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from traceback import FrameSummary
from typing import Final, TypeAlias

Stack: TypeAlias = Callable[[], Iterable[FrameSummary]]
"""Returns the frames of one thread, outermost first."""

_THREAD: Final = re.compile(r"(?:Current thread|Thread) 0x(?P<ident>[0-9a-f]+)\b")
_FRAME: Final = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)')


def thread_stacks() -> Mapping[int, Stack]:
    """The stacks of all threads, or of the readable ones, by the thread's ident."""
    if _has_lock():
        frames = sys._current_frames()  # noqa: SLF001 -- the documented way to other threads' stacks
        return {ident: partial(traceback.extract_stack, frame) for ident, frame in frames.items()}
    with tempfile.TemporaryFile() as written:
        faulthandler.dump_traceback(written, all_threads=True)
        written.seek(0)
        return dict(_read(written.read().decode(errors="replace").splitlines()))


def _has_lock() -> bool:
    ask: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return ask is None or ask()


def _read(lines: Iterable[str]) -> Iterator[tuple[int, Stack]]:
    frames: list[FrameSummary] = []
    for line in lines:
        if thread := _THREAD.match(line):
            frames = []
            yield int(thread["ident"], 16), partial(reversed, frames)
        elif frame := _FRAME.match(line):
            frames.append(FrameSummary(frame["file"], int(frame["line"]), frame["name"]))
