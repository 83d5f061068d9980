"""Reads exceptions of foreign code, and never fails on them: parts that cannot be read are left out.

An exception may be frozen, raise in ``__str__``, ``__getattr__`` or ``__reduce__``, or hold objects that no traceback
can show. Cause, traceback and attributes are read and written through the slots of ``BaseException``, past the
exception's own class, so that none of its code runs. Only KeyboardInterrupt gets through: it comes from the keyboard.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

LONGEST_TRACEBACK: Final = 20_000
"""How many characters of a traceback are shown; the middle of a longer one is left out."""

_SLOTS: Final = vars(BaseException)
_NO_TEXT: Final = "(its text cannot be had)"
_CUT: Final = "..."


def attempted(look: Callable[[], _T], otherwise: _T) -> _T:
    """The result of ``look``, or ``otherwise`` if it raises anything except KeyboardInterrupt."""
    try:
        return look()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 -- code of a stranger's class, which may raise anything
        return otherwise


def is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Like ``isinstance``, but without reading the object's ``__class__``."""
    return issubclass(type(error), kinds)


def type_name(error: BaseException) -> str:
    """The name of its class."""
    name: str = vars(type)["__name__"].__get__(type(error))
    return name


def text_of(error: BaseException, longest: int) -> str:
    """Its text, cut at ``longest`` characters; always text that can be encoded."""
    text = attempted(lambda: _exact(str(error), longest), _NO_TEXT)
    return text if len(text) <= longest else text[:longest] + _CUT


def attribute(error: BaseException, name: str, otherwise: Any = None) -> Any:
    """Its attribute, or ``otherwise`` if there is none or reading it raises."""
    return attempted(lambda: getattr(error, name, otherwise), otherwise)


def cause_of(error: BaseException) -> BaseException | None:
    """The exception that it was raised from."""
    cause: BaseException | None = _SLOTS["__cause__"].__get__(error)
    return cause


def cause_or_context_of(error: BaseException) -> BaseException | None:
    """The exception that a traceback shows before it: its cause, or the one being handled when it was raised."""
    cause = cause_of(error)
    if cause is not None or _SLOTS["__suppress_context__"].__get__(error):
        return cause
    context: BaseException | None = _SLOTS["__context__"].__get__(error)
    return context


def set_cause(error: BaseException, cause: BaseException) -> None:
    """Like ``raise error from cause``."""
    _SLOTS["__cause__"].__set__(error, cause)


def frames_of(error: BaseException) -> TracebackType | None:
    """Its ``__traceback__``."""
    frames: TracebackType | None = _SLOTS["__traceback__"].__get__(error)
    return frames


def drop_first_frame(error: BaseException) -> None:
    """Drop the frame in which it was caught."""
    frames = frames_of(error)
    if frames is not None:
        _SLOTS["__traceback__"].__set__(error, frames.tb_next)


def set_attribute(error: BaseException, name: str, value: object) -> None:
    """Store a private attribute in it."""
    _attributes(error)[name] = value


def take_attribute(error: BaseException, name: str) -> Any:
    """Remove and return an attribute of ``set_attribute``; None if there is none."""
    return _attributes(error).pop(name, None)


def add_note(error: BaseException, note: str) -> None:
    """Like ``BaseException.add_note``, even if attributes cannot be set; does nothing if its notes are not a list."""
    notes = _attributes(error).setdefault("__notes__", [])
    if type(notes) is list:
        notes.append(note)


def traceback_of(error: BaseException) -> str:
    """Its traceback with its causes' tracebacks, without a line end; the middle of a long one is left out."""
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
    """``error`` if a log handler can format it in a reasonable length, else None: for ``exc_info``."""
    length = attempted(lambda: len("".join(traceback.format_exception(error))), None)
    return None if length is None or length > LONGEST_TRACEBACK else error


def _attributes(error: BaseException) -> dict[str, Any]:
    attributes: dict[str, Any] = _SLOTS["__dict__"].__get__(error)
    return attributes


def _exact(text: str, longest: int | None = None) -> str:
    """Text of class ``str`` itself that can be encoded, at most one character longer than ``longest``."""
    part = text if longest is None else str.__getitem__(text, slice(longest + 1))
    return str.encode(part, errors="replace").decode()
