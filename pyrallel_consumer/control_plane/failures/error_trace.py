"""Where an error was raised, for a dead letter: types and places of the error and its causes, and none of their texts.

Pure: it reads no source files, as ``traceback`` does, which takes a hundred times as long. Texts stay out because they
may hold payloads: the letter's reason has the text of the error, where it may be shown. An error is a stranger's
object: whatever of it cannot be read is left out, and nothing is raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from pyrallel_consumer.foreign_errors import attempted, cause_or_context_of, frames_of, type_name

MOST_ERRORS: Final = 5
"""The error and its causes."""
MOST_FRAMES: Final = 20
"""Of each error, the innermost."""
LONGEST_TRACE: Final = 4000
"""Characters."""
FRAME: Final = '  File "'
"""How a line begins that names a place, here and in the words of ``traceback``."""


def error_trace(error: BaseException) -> str:
    """One line for the type of each error, outermost first, and one for each place, innermost last."""
    lines: list[str] = []
    each: BaseException | None = error
    for _ in range(MOST_ERRORS):
        if each is None:
            break
        lines.append(f"{'caused by ' if lines else ''}{type_name(each)}")
        lines += attempted(partial(_frames, each), ())
        each = cause_or_context_of(each)
    return "\n".join(lines)[:LONGEST_TRACE]


def _frames(error: BaseException) -> Sequence[str]:
    frames: deque[str] = deque(maxlen=MOST_FRAMES)
    place = frames_of(error)
    while place is not None:
        code = place.tb_frame.f_code
        frames.append(f'{FRAME}{code.co_filename}", line {place.tb_lineno}, in {code.co_qualname}')
        place = place.tb_next
    # An error of a worker process has its traceback in a note.
    for note in getattr(error, "__notes__", ()):
        frames.extend(line for line in str(note).splitlines() if line.startswith(FRAME))
    return list(frames)
