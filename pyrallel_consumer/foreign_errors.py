"""Looks at exceptions that strangers wrote, and never fails over them: what fails is left out.

An exception may be frozen, raise in ``__str__``, ``__getattr__`` or ``__reduce__``, or hold what no traceback can show.
Cause, traceback and attributes are read and written through the slots of ``BaseException``, past the exception's own
class, so that none of its code runs. KeyboardInterrupt alone gets through: it comes from the keyboard.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

LONGEST_TRACEBACK: Final = 20_000
"""Characters of a traceback that are shown; of a longer one the middle is left out."""

_SLOTS: Final = vars(BaseException)
_NO_TEXT: Final = "(its text cannot be had)"
_CUT: Final = "..."


def attempted(look: Callable[[], _T], otherwise: _T) -> _T:
    """What ``look`` returns, or ``otherwise`` where it raises anything but KeyboardInterrupt."""
    try:
        return look()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 -- code of a stranger's class, which may raise anything
        return otherwise


def is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """``isinstance``, which asks the object for its ``__class__``; this asks nothing."""
    return issubclass(type(error), kinds)


def type_name(error: BaseException) -> str:
    """The name of its class."""
    name: str = vars(type)["__name__"].__get__(type(error))
    return name


def text_of(error: BaseException, longest: int) -> str:
    """What it says of itself, cut at ``longest`` characters; always text that can be encoded."""
    text = attempted(lambda: _exact(str(error), longest), _NO_TEXT)
    return text if len(text) <= longest else text[:longest] + _CUT


def attribute(error: BaseException, name: str, otherwise: Any = None) -> Any:
    """Its attribute, or ``otherwise`` where there is none or looking raises."""
    return attempted(lambda: getattr(error, name, otherwise), otherwise)


def cause_of(error: BaseException) -> BaseException | None:
    """What it was raised from."""
    cause: BaseException | None = _SLOTS["__cause__"].__get__(error)
    return cause


def cause_or_context_of(error: BaseException) -> BaseException | None:
    """What a traceback shows before it: its cause, or what was being handled when it was raised."""
    cause = cause_of(error)
    if cause is not None or _SLOTS["__suppress_context__"].__get__(error):
        return cause
    context: BaseException | None = _SLOTS["__context__"].__get__(error)
    return context


def set_cause(error: BaseException, cause: BaseException) -> None:
    """As ``raise error from cause`` does."""
    _SLOTS["__cause__"].__set__(error, cause)


def frames_of(error: BaseException) -> TracebackType | None:
    """Its ``__traceback__``."""
    frames: TracebackType | None = _SLOTS["__traceback__"].__get__(error)
    return frames


def drop_first_frame(error: BaseException) -> None:
    """Forget where it was caught."""
    frames = frames_of(error)
    if frames is not None:
        _SLOTS["__traceback__"].__set__(error, frames.tb_next)


def set_attribute(error: BaseException, name: str, value: object) -> None:
    """Keep something with it that nobody else sees."""
    _attributes(error)[name] = value


def take_attribute(error: BaseException, name: str) -> Any:
    """What ``set_attribute`` kept, and no longer does; None where there is nothing."""
    return _attributes(error).pop(name, None)


def add_note(error: BaseException, note: str) -> None:
    """``BaseException.add_note``, also where attributes cannot be set; left out where its notes are no list."""
    notes = _attributes(error).setdefault("__notes__", [])
    if type(notes) is list:
        notes.append(note)


def traceback_of(error: BaseException) -> str:
    """Its traceback with those of its causes, without a line end; the middle of a long one is left out."""
    shown = attempted(lambda: _exact("".join(traceback.format_exception(error)).rstrip()), "")
    if not shown:
        no_lines: list[str] = []
        lines = attempted(lambda: traceback.format_tb(frames_of(error)), no_lines)
        shown = "".join([*lines, f"{type_name(error)}: {text_of(error, LONGEST_TRACEBACK)}"])
    if len(shown) <= LONGEST_TRACEBACK:
        return shown
    half = LONGEST_TRACEBACK // 2
    left_out = len(shown) - 2 * half
    return f"{shown[:half]}\n... ({left_out} characters are left out) ...\n{shown[-half:]}"


def loggable(error: BaseException) -> BaseException | None:
    """``error`` where a log handler can format it in reasonable length, else None: for ``exc_info``."""
    length = attempted(lambda: len("".join(traceback.format_exception(error))), None)
    return None if length is None or length > LONGEST_TRACEBACK else error


def _attributes(error: BaseException) -> dict[str, Any]:
    attributes: dict[str, Any] = _SLOTS["__dict__"].__get__(error)
    return attributes


def _exact(text: str, longest: int | None = None) -> str:
    """Text of class ``str`` itself that can be encoded: of at most one character more than ``longest``."""
    part = text if longest is None else str.__getitem__(text, slice(longest + 1))
    return str.encode(part, errors="replace").decode()
