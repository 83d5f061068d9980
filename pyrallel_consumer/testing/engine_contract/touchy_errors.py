"""Difficult exceptions, as users' libraries have them: frozen, raising when they are read, huge.

Each name makes a new one. They can be imported in worker processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.errors import RetryLater

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class FrozenError(Exception):
    """An S3 client had this error."""

    reason: str = "no stock"


@dataclass(frozen=True)
class FieldlessError(Exception):
    """Can be pickled and restored, and nothing be set on it."""


@dataclass(frozen=True, slots=True)
class SlottedError(Exception):
    reason: str = "no stock"


@dataclass
class UnhashableError(Exception):
    reasons: list[str] = field(default_factory=list)


class MuteError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no words")

    __repr__ = __str__


class OddTextError(Exception):
    """Its text is of a class of its own."""

    def __str__(self) -> str:
        return _OddText("invalid \udce4 data")


class _OddText(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise KeyError("length")

    def __getitem__(self, index: Any) -> str:
        raise KeyError(index)


class CauseError(Exception):
    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]  # as users do
        raise KeyError("cause")


class SetattrError(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise PermissionError(name)


class GetattrError(Exception):
    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


class GetattributeError(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise KeyError(name)


class PretendingError(Exception):
    @property  # type: ignore[misc]  # as users do
    def __class__(self) -> type:
        raise KeyError("class")


class DictError(Exception):
    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # as users do
        raise KeyError("dict")


class TracebackError(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]  # as users do
        raise KeyError("traceback")


class NotesError(Exception):
    __notes__ = 5  # type: ignore[assignment]  # as users do


class NotesInstanceError(Exception):
    def __init__(self) -> None:
        self.__notes__ = "one note"  # type: ignore[assignment]  # as users do


class ReduceError(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit("not me")


class RestoreError(Exception):
    """Can be pickled, and raises when it is restored."""

    def __setstate__(self, state: object) -> None:
        raise SystemExit("not me")

    def __reduce__(self) -> Any:
        return type(self), (), {"state": 1}


class ChangelingError(Exception):
    """Restored, it is something else."""

    def __reduce__(self) -> Any:
        return dict, ()


class NamelessMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in {"__name__", "__qualname__", "__module__"}:
            raise KeyError(name)
        return super().__getattribute__(name)


class NamelessError(Exception, metaclass=NamelessMeta):
    pass


class DelaylessError(RetryLater):
    def __init__(self) -> None:
        Exception.__init__(self, "busy")


class RaisingDelayError(DelaylessError):
    @property
    def delay_ms(self) -> float:  # type: ignore[override]  # as users do
        raise KeyError("Retry-After")


class HugeDelayError(DelaylessError):
    delay_ms = 10**400


class NanDelayError(DelaylessError):
    delay_ms = float("nan")


def _syntax_error() -> BaseException:
    error = SyntaxError("odd", ("file", 1, 1, "text"))
    error.lineno = error.offset = error.text = object()  # type: ignore[assignment]  # as template engines do
    return error


def _circle() -> BaseException:
    error, cause = ValueError("error"), ValueError("cause")
    error.__cause__, cause.__cause__ = cause, error
    return error


def _chain() -> BaseException:
    error = ValueError("the first")
    for _ in range(2000):
        outer = ValueError("outer")
        outer.__cause__ = error
        error = outer
    return error


def _nested_group() -> BaseException:
    error: Exception = MuteError()
    for _ in range(200):
        error = ExceptionGroup("group", [error, FrozenError()])
    return error


_CLASSES: tuple[type[BaseException], ...] = (
    FrozenError,
    FieldlessError,
    SlottedError,
    UnhashableError,
    MuteError,
    OddTextError,
    CauseError,
    SetattrError,
    GetattrError,
    GetattributeError,
    PretendingError,
    DictError,
    TracebackError,
    NotesError,
    NotesInstanceError,
    ReduceError,
    RestoreError,
    ChangelingError,
    NamelessError,
    DelaylessError,
    RaisingDelayError,
    HugeDelayError,
    NanDelayError,
)
TOUCHY_ERRORS: dict[str, Callable[[], BaseException]] = {
    **{vars(type)["__name__"].__get__(error): error for error in _CLASSES},
    "odd syntax error": _syntax_error,
    "circle of causes": _circle,
    "chain of causes": _chain,
    "nested group": _nested_group,
    "huge text": lambda: ValueError("x" * 20_000_000),
    "surrogates": lambda: ValueError("\udcff\x00"),
    "no arguments": ValueError,
    "held objects": lambda: ValueError(object(), lambda: None, bytearray(3_000_000)),
}
