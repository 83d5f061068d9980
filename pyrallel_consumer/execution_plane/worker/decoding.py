"""Decodes the value and the key of one item for the worker, in the place where the worker runs.

``Decoding`` is made once in each process. ``decoded`` takes one item and returns an item with the decoded values. It
raises ``DecodeError`` if the bytes are at fault. It raises the deserializer's own error if another attempt may succeed,
for example if a schema registry does not answer. ``None`` is never decoded. After pickling, it is built again on
arrival.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from pyrallel_consumer.dto import WorkItem, packed_item, unpacked_item
from pyrallel_consumer.errors import ConfigurationError, DecodeError, DoNotRetry, RetryLater
from pyrallel_consumer.execution_plane.worker.transient_errors import is_transient
from pyrallel_consumer.foreign_errors import attempted, is_a, text_of, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.execution_plane.worker.deserializers import Deserializers
    from pyrallel_consumer.message import Row

KEY: Final = "key"
VALUE: Final = "value"

_MOST_PROBLEMS: Final = 5
"""How many of a model's problems the error names; the error's cause has them all."""
_LONGEST_TEXT: Final = 500


class DecodedItem(WorkItem[Any]):
    """An item whose value or key was decoded. It is made for one attempt, and the worker alone gets it."""

    __slots__ = ("_decoded_key", "_value")

    def __init__(self, item: WorkItem, decoded_key: Any, value: Any) -> None:
        self._message = item._message  # noqa: SLF001 -- its own class: this is on the way of every message
        self._offset = item._offset  # noqa: SLF001
        self._origin = item._origin  # noqa: SLF001
        self._attempt = item._attempt  # noqa: SLF001
        self._decoded_key = decoded_key
        self._value = value

    @property
    def value(self) -> Any:
        return self._value

    @property
    def decoded_key(self) -> Any:
        return self._decoded_key

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (packed_item(self), self._decoded_key, self._value)


def _unpacked(row: Row, decoded_key: Any, value: Any) -> DecodedItem:
    return DecodedItem(unpacked_item(row), decoded_key, value)


class Decoding:
    """Decodes items, one by one; for any thread. Raises ConfigurationError if a deserializer cannot be made."""

    def __init__(self, deserializers: Deserializers) -> None:
        self._deserializers = deserializers
        key, value = deserializers
        self._decode_key = None if key is None else key.decoder()
        self._decode_value = None if value is None else value.decoder()
        read = None if value is None else value.reader()
        self.is_plain = key is None and read is not None
        """Whether values alone are decoded, and never by a coroutine."""
        if self.is_plain and read is not None:
            self.decoded = self._reading(read)  # type: ignore[assignment]  # the same, at half the cost

    def __reduce__(self) -> tuple[Any, ...]:
        return Decoding, (self._deserializers,)

    def decoded(self, item: WorkItem) -> WorkItem[Any]:
        """``item`` with its decoded values. Raises as the module's docstring says; never awaits."""
        key, value = self._both(item)
        if type(key) is CoroutineType or type(value) is CoroutineType:
            _close(key, value)
            raise ConfigurationError(
                "the deserializer returned a coroutine, which nobody awaits here: use ExecutionMode.ASYNC, or a "
                "deserializer that is a plain function"
            )
        return DecodedItem(item, key, value)

    def _reading(self, read: Callable[[bytes], Any]) -> Callable[[WorkItem], WorkItem[Any]]:
        """``decoded`` for values that ``read`` reads, without the steps that only other deserializers need."""
        refused, made = self._refused, DecodedItem

        def decoded(item: WorkItem) -> WorkItem[Any]:
            message = item._message  # noqa: SLF001 -- as above
            value = message.value()
            if value is not None:
                try:
                    value = read(value)
                except Exception as error:
                    if _is_passed_on(error):
                        raise
                    raise refused(item, VALUE, error) from error
            return made(item, message.key(), value)

        return decoded

    def call(self, worker: Callable[[WorkItem[Any]], Any], item: WorkItem) -> Any:
        """Decode ``item`` and call ``worker``, an ``async def``; returns the awaitable.

        Deserializers may be asynchronous here: the schema registry's client has asynchronous ones.
        """
        key, value = self._both(item)
        if type(key) is CoroutineType or type(value) is CoroutineType:
            return self._awaited_call(worker, item, key, value)
        return worker(DecodedItem(item, key, value))

    async def decoded_soon(self, item: WorkItem) -> WorkItem[Any]:
        """Like ``decoded``, but awaits asynchronous deserializers."""
        key, value = self._both(item)
        if type(key) is CoroutineType or type(value) is CoroutineType:
            return await self._awaited(item, key, value)
        return DecodedItem(item, key, value)

    def _both(self, item: WorkItem) -> tuple[Any, Any]:
        """Key and value, or coroutines of them. Key first: deserializers of a registry may need it for the value."""
        message = item._message  # noqa: SLF001 -- as above
        key, value = message.key(), message.value()
        if self._decode_key is not None and key is not None:
            try:
                key = self._decode_key(key, item)
            except Exception as error:
                if _is_passed_on(error):
                    raise
                raise self._refused(item, KEY, error) from error
        if self._decode_value is not None and value is not None:
            try:
                value = self._decode_value(value, item)
            except Exception as error:
                _close(key)
                if _is_passed_on(error):
                    raise
                raise self._refused(item, VALUE, error) from error
        return key, value

    async def _awaited_call(self, worker: Callable[[WorkItem[Any]], Any], item: WorkItem, key: Any, value: Any) -> Any:
        return await worker(await self._awaited(item, key, value))

    async def _awaited(self, item: WorkItem, key: Any, value: Any) -> WorkItem[Any]:
        field = KEY
        try:
            if type(key) is CoroutineType:
                key = await key
            field = VALUE
            if type(value) is CoroutineType:
                value = await value
        except BaseException as error:
            _close(key, value)
            if not isinstance(error, Exception) or _is_passed_on(error):
                raise
            raise self._refused(item, field, error) from error
        return DecodedItem(item, key, value)

    def _refused(self, item: WorkItem, field: str, error: Exception) -> DecodeError:
        deserializer = self._deserializers.key if field is KEY else self._deserializers.value
        name = "" if deserializer is None else f" by {deserializer.name}"
        return DecodeError(
            f"the {field} of {item.id} cannot be decoded{name}: {_reason(error)}",
            topic=item.topic,
            partition=item.partition,
            offset=item.offset,
            field=field,
        )


def _is_passed_on(error: Exception) -> bool:
    """Whether the message is not at fault, or the deserializer itself decides about the message."""
    return not is_a(error, DecodeError) and (is_a(error, RetryLater, DoNotRetry) or is_transient(error))


def _close(*made: Any) -> None:
    """Close coroutines that will not be awaited."""
    for each in made:
        if type(each) is CoroutineType:
            each.close()


def _reason(error: Exception) -> str:
    """Type and text of a deserializer's error; for a model's problems their places, without the values."""
    problems = attempted(lambda: _problems(error), "")
    if problems:
        return problems
    text = text_of(error, _LONGEST_TEXT)
    if is_a(error, DecodeError):
        return text
    return f"{type_name(error)}: {text}" if text else type_name(error)


def _problems(error: Exception) -> str:
    """The problems of pydantic's ValidationError, as "lines.0.price: Field required"; "" for any other error."""
    if type_name(error) != "ValidationError" or not hasattr(error, "errors"):
        return ""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [_problem(problem["loc"], problem["msg"]) for problem in found[:_MOST_PROBLEMS]]
    if len(found) > len(told):
        told.append(f"and {len(found) - len(told)} more")
    return "; ".join(told)


def _problem(place: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, place))}: {message}" if place else message
