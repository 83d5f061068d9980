"""The user's deserializers of values and keys, checked before any connection; picklable for processes.

A ``Deserializer`` is one of them and is not called itself: once in each process, ``decoder`` makes the function that is
called for each message. ``Deserializers`` holds the deserializers of one consumer.
"""

from __future__ import annotations

import inspect
import pickle
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.worker.kind import is_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import Headers, WorkItem

    Decode: TypeAlias = Callable[[bytes, WorkItem], Any]
    """Decodes one half of a message: its bytes, and the item that they belong to."""
    ContextOf: TypeAlias = Callable[[str, str, Headers], Any]
    """Makes the ``SerializationContext`` of a topic, a field (``key`` or ``value``) and headers."""


class Deserializer(ABC):
    """``setting`` is the name of the user's argument, ``name`` the deserializer's name in errors."""

    def __init__(self, setting: str, name: str) -> None:
        self.setting = setting
        self.name = name

    @abstractmethod
    def decoder(self) -> Decode:
        """The function that decodes messages. Raises ConfigurationError if it cannot be made."""

    def reader(self) -> Callable[[bytes], Any] | None:
        """The function that decodes bytes without their item, cheaper than ``decoder``; None if there is none."""
        return None

    @abstractmethod
    def check(self, mode: ExecutionMode) -> None:
        """Raise ConfigurationError if it cannot decode in this mode."""


class OfType(Deserializer):
    """Reads JSON into ``kind``, any type that pydantic checks: a model, a dataclass, a TypedDict, a union of them."""

    def __init__(self, setting: str, kind: Any) -> None:
        super().__init__(setting, getattr(kind, "__qualname__", None) or repr(kind))
        self._kind = kind

    def check(self, mode: ExecutionMode) -> None:
        self.decoder()
        if mode is ExecutionMode.PROCESS:
            _check_picklable(self._kind, self.setting, self.name, "define the type at the top of a module")

    def decoder(self) -> Decode:
        read = self.reader()
        return lambda data, _: read(data)

    def reader(self) -> Callable[[bytes], Any]:
        from pydantic import PydanticUserError, TypeAdapter  # noqa: PLC0415 -- processes without a type do not pay for it

        try:
            adapter = self._kind if isinstance(self._kind, TypeAdapter) else TypeAdapter(self._kind)
            return adapter.validator.validate_json
        except (PydanticUserError, NameError, TypeError) as error:
            raise ConfigurationError(
                f"{self.setting} {self.name} is no type that pydantic can read JSON into: {error}"
            ) from error


class OfCallable(Deserializer):
    """Calls ``given``. If it has no parameters, it is called once, and returns the deserializer to call."""

    def __init__(self, setting: str, given: Callable[..., Any], field: str, context_of: ContextOf) -> None:
        super().__init__(setting, _name_of(given))
        self._given = given
        self._field = field
        self._context_of = context_of

    def check(self, mode: ExecutionMode) -> None:
        if isinstance(self._given, type):
            raise ConfigurationError(f"{self.setting} {self.name} is a class: give an instance of it")
        if not callable(self._given):
            raise ConfigurationError(
                f"{self.setting} {self.name} cannot be called: give a function of (bytes, SerializationContext)"
            )
        if not (_takes(self._given, 2) or _takes(self._given, 0)):
            raise ConfigurationError(
                f"{self.setting} {self.name}{inspect.signature(self._given)} cannot be called with (bytes, "
                "SerializationContext): give a function of these two, or one without parameters that returns it"
            )
        if mode is not ExecutionMode.ASYNC and is_async(self._given):
            raise ConfigurationError(
                f"{self.setting} {self.name} is `async def`, and mode {mode} calls plain functions: give a plain "
                "function, or use ExecutionMode.ASYNC"
            )
        if mode is ExecutionMode.PROCESS:
            hint = (
                "give a function without parameters, at the top of a module, that returns the deserializer: it is "
                "called once in each process"
            )
            _check_picklable(self._given, self.setting, self.name, hint)

    def decoder(self) -> Decode:
        field, context_of, deserialize = self._field, self._context_of, self._made()
        return lambda data, item: deserialize(data, context_of(item.topic, field, item.headers))

    def _made(self) -> Callable[..., Any]:
        if _takes(self._given, 2):
            return self._given
        try:
            made = self._given()
        except Exception as error:
            raise ConfigurationError(
                f"{self.setting} {self.name} raised {type(error).__name__} when it was called to make the "
                f"deserializer: {error}"
            ) from error
        if isinstance(made, type) or not callable(made) or not _takes(made, 2):
            if inspect.iscoroutine(made):
                made.close()
            raise ConfigurationError(
                f"{self.setting} {self.name} is called without arguments to make the deserializer, and returned "
                f"{type(made).__name__}, which cannot be called with (bytes, SerializationContext)"
            )
        return made  # type: ignore[no-any-return]  # seen to be callable


class Deserializers(NamedTuple):
    """The deserializers of one consumer; at least one is given."""

    key: Deserializer | None
    value: Deserializer | None

    def check(self, mode: ExecutionMode) -> None:
        """Raise ConfigurationError if one of them does not fit, before any connection."""
        for each in self:
            if each is not None:
                each.check(mode)


def deserializers_of(
    *, key_type: Any, key_deserializer: Any, value_type: Any, value_deserializer: Any, context_of: ContextOf
) -> Deserializers | None:
    """The deserializers of these arguments, None without any. ConfigurationError if a field has two."""
    key = _given("key", key_type, key_deserializer, context_of)
    value = _given("value", value_type, value_deserializer, context_of)
    return None if key is None and value is None else Deserializers(key, value)


def _given(field: str, kind: Any, deserializer: Any, context_of: ContextOf) -> Deserializer | None:
    if kind is not None and deserializer is not None:
        raise ConfigurationError(f"{field}_type and {field}_deserializer are both given: give one of them")
    if kind is not None:
        return OfType(f"{field}_type", kind)
    return None if deserializer is None else OfCallable(f"{field}_deserializer", deserializer, field, context_of)


def _name_of(given: Any) -> str:
    """Its name in errors: a function's own name, or an object's class, because an object's text may be large."""
    while isinstance(given, partial):
        given = given.func
    return getattr(given, "__qualname__", None) or (type(given).__name__ if callable(given) else repr(given))


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with ``count`` arguments, as far as its signature shows."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return count > 0  # Compiled functions may have no signature to look at.
    return True


def _check_picklable(given: Any, setting: str, name: str, hint: str) -> None:
    try:
        pickle.dumps(given)
    except Exception as error:
        # Any exception of a user's __reduce__ means the same: the object cannot be sent to another process.
        raise ConfigurationError(f"{setting} {name} cannot be sent to a process ({error}): {hint}") from error
