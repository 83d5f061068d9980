"""Where an error was raised, for a dead letter: types and places of the error and its causes, without their texts.

Pure: it reads no source files, as ``traceback`` does, which takes a hundred times as long. Texts stay out because they
may hold payloads; if the text may be shown, the letter's reason has it. An error is an object of foreign code: parts
that cannot be read are left out, and nothing is raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from pyrallel_consumer.foreign_errors import attempted, cause_or_context_of, frames_of, type_name

MOST_ERRORS: Final = 5
"""How many errors a trace shows: the error and its causes."""
MOST_FRAMES: Final = 20
"""How many frames of each error a trace shows: the innermost ones."""
LONGEST_TRACE: Final = 4000
"""Characters."""
FRAME: Final = '  File "'
"""The beginning of a line that names a place, here and in the output of ``traceback``."""


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
