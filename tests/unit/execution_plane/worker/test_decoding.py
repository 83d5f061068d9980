"""Decoding of one item: what the worker gets, and the error if it cannot be decoded."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from pyrallel_consumer import ConfigurationError, DecodeError, DoNotRetry, ExecutionMode, RetryLater, WorkItem
from pyrallel_consumer.execution_plane.worker.decoding import Decoding
from pyrallel_consumer.execution_plane.worker.deserializers import Deserializers, deserializers_of
from pyrallel_consumer.ingress.serialization import serialization_context
from pyrallel_consumer.testing.messages import work_item


class Line(BaseModel):
    article: str
    price: float


class Order(BaseModel):
    number: int
    lines: list[Line] = []


@dataclass
class Payment:
    amount: float


class Refund(TypedDict):
    amount: float


def asked(**given: Any) -> Deserializers:
    names = ("key_type", "key_deserializer", "value_type", "value_deserializer")
    found = deserializers_of(**{**dict.fromkeys(names), **given}, context_of=serialization_context)
    assert found is not None
    return found


def decoded(item: WorkItem, **given: Any) -> WorkItem[Any]:
    return Decoding(asked(**given)).decoded(item)


def upper(data: bytes | None, context: SerializationContext) -> str:
    return (data or b"").decode().upper()


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (
            Order,
            b'{"number": 7, "lines": [{"article": "a", "price": 1}]}',
            Order(number=7, lines=[Line(article="a", price=1)]),
        ),
        (Payment, b'{"amount": 2.5}', Payment(2.5)),
        (Refund, b'{"amount": 2.5}', {"amount": 2.5}),
        (list[int], b"[1, 2]", [1, 2]),
        (Order | Payment, b'{"amount": 2.5}', Payment(2.5)),
        (TypeAdapter(dict[str, int]), b'{"a": 1}', {"a": 1}),
        (int, b"12", 12),
    ],
)
def test_json_becomes_the_type_that_was_asked_for(kind: Any, raw: bytes, value: object) -> None:
    item = decoded(work_item(raw, key=b"k"), value_type=kind)
    assert item.value == value
    assert type(item.value) is type(value)
    assert (item.payload, item.key, item.decoded_key) == (raw, b"k", b"k")


def test_without_deserializers_value_is_the_payload_and_the_decoded_key_the_key() -> None:
    item = work_item(b"v", key=b"k")
    assert (item.value, item.decoded_key) == (b"v", b"k")
    names = ("key_type", "key_deserializer", "value_type", "value_deserializer")
    assert deserializers_of(**dict.fromkeys(names), context_of=serialization_context) is None


def test_a_key_is_decoded_and_stays_bytes_as_key() -> None:
    item = decoded(work_item(b"v", key=b'{"amount": 1}'), key_type=Payment)
    assert (item.value, item.key, item.decoded_key) == (b"v", b'{"amount": 1}', Payment(1))


def test_a_deserializer_gets_the_bytes_and_the_context_of_its_field() -> None:
    seen: list[tuple[bytes | None, Any]] = []

    def deserializer(data: bytes | None, context: SerializationContext) -> int:
        seen.append((data, context))
        return len(seen)

    item = work_item(b"v", key=b"k", topic="orders", headers=[("h", b"1")])
    made = decoded(item, key_deserializer=deserializer, value_deserializer=deserializer)
    assert (made.decoded_key, made.value) == (1, 2)
    (key, of_key), (value, of_value) = seen
    assert (key, value) == (b"k", b"v")
    assert (of_key.field, of_value.field) == (MessageField.KEY, MessageField.VALUE)
    assert {(context.topic, *context.headers) for context in (of_key, of_value)} == {("orders", ("h", b"1"))}
    assert type(of_key) is SerializationContext


def test_none_is_not_decoded() -> None:
    def refuse(data: bytes | None, context: object) -> None:
        raise AssertionError

    item = decoded(work_item(None, key=None), key_deserializer=refuse, value_deserializer=refuse)
    assert (item.value, item.decoded_key, item.payload) == (None, None, None)
    assert decoded(work_item(None), value_type=Order).value is None


def test_all_else_of_the_item_stays_as_it_is_also_in_copies() -> None:
    item = work_item(b'{"amount": 1}', key=b"k", topic="t", partition=3, offset=9, attempt=2, headers=[("h", b"1")])
    made = decoded(item, value_type=Payment)
    for each in (made, copy.copy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301 -- our own
        assert (each.id, each.epoch, each.attempt, each.headers) == (item.id, item.epoch, 2, [("h", b"1")])
        assert (each.value, each.payload, each.decoded_key) == (Payment(1), b'{"amount": 1}', b"k")
    assert item.value == b'{"amount": 1}'


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        (b'{"lines": []}', "number: Field required"),
        (
            b'{"number": 1, "lines": [{"article": "secret", "price": "secret"}]}',
            "lines.0.price: Input should be a valid number",
        ),
        (b"\xff", "Invalid JSON"),
    ],
)
def test_what_cannot_be_read_is_a_decode_error_that_names_message_field_and_place(raw: bytes, said: str) -> None:
    item = work_item(raw, key=b"k", topic="orders", partition=2, offset=17)
    with pytest.raises(DecodeError) as raised:
        decoded(item, value_type=Order)
    error = raised.value
    assert str(error).startswith("the value of orders-2-17 cannot be decoded by Order: ")
    assert said in str(error)
    assert "secret" not in str(error)
    assert (error.topic, error.partition, error.offset, error.field) == ("orders", 2, 17, "value")
    assert error.__cause__ is not None


def test_many_problems_are_counted_and_some_are_named() -> None:
    with pytest.raises(DecodeError, match=r"0: .*; 4: .*; and 3 more$"):
        decoded(work_item(b'["a","b","c","d","e","f","g","h"]'), value_type=list[int])


def test_what_a_deserializer_raises_is_the_reason() -> None:
    def fail(data: bytes | None, context: object) -> None:
        raise ValueError("no magic byte")

    with pytest.raises(
        DecodeError, match=r"the key of .* cannot be decoded by .*fail: ValueError: no magic byte"
    ) as raised:
        decoded(work_item(b"v", key=b"k"), key_deserializer=fail)
    assert raised.value.field == "key"


def test_a_deserializer_may_say_itself_that_it_cannot_decode() -> None:
    def fail(data: bytes | None, context: object) -> None:
        raise DecodeError("version 9 is unknown")

    with pytest.raises(DecodeError, match=r"the value of test-0-5 cannot be decoded by .*fail: version 9 is unknown"):
        decoded(work_item(b"v", offset=5), value_deserializer=fail)


@pytest.mark.parametrize(
    "raised", [RetryLater(10, charge=False), DoNotRetry("give up"), ConnectionRefusedError("registry"), TimeoutError()]
)
def test_errors_that_are_not_the_messages_fault_are_raised_as_they_are(raised: Exception) -> None:
    def fail(data: bytes | None, context: object) -> None:
        raise raised

    with pytest.raises(type(raised)) as seen:
        decoded(work_item(b"v"), value_deserializer=fail)
    assert seen.value is raised


def test_a_decode_error_survives_pickling() -> None:
    error = DecodeError("no", topic="orders", partition=2, offset=17, field="key")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    assert (str(again), again.topic, again.partition, again.offset, again.field) == ("no", "orders", 2, 17, "key")


def test_a_function_without_parameters_is_called_once_and_makes_the_deserializer() -> None:
    made: list[Callable[..., str]] = []

    def factory() -> Callable[..., str]:
        made.append(upper)
        return upper

    decoding = Decoding(asked(value_deserializer=factory))
    assert [decoding.decoded(work_item(raw)).value for raw in (b"a", b"b")] == ["A", "B"]
    assert len(made) == 1


def broken_factory() -> None:
    raise OSError("no registry")


def factory_of_nothing() -> object:
    return 7


async def async_factory() -> object:
    return upper


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            broken_factory,
            "value_deserializer broken_factory raised OSError when it was called to make the deserializer",
        ),
        (factory_of_nothing, "returned int, which cannot be called with"),
        (async_factory, "returned coroutine, which cannot be called with"),
    ],
)
def test_a_factory_that_makes_nothing_is_refused(factory: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Decoding(asked(value_deserializer=factory))


async def async_upper(data: bytes | None, context: SerializationContext) -> str:
    return (data or b"").decode().upper()


def returning_a_coroutine(data: bytes | None, context: SerializationContext) -> Any:
    return async_upper(data, context)


@pytest.mark.parametrize("deserializer", [async_upper, returning_a_coroutine, upper])
async def test_an_asynchronous_deserializer_is_awaited(deserializer: Any) -> None:
    decoding = Decoding(asked(key_deserializer=deserializer, value_deserializer=deserializer))
    seen: list[WorkItem[Any]] = []

    async def worker(item: WorkItem[Any]) -> None:
        seen.append(item)

    await decoding.call(worker, work_item(b"v", key=b"k"))
    seen.append(await decoding.decoded_soon(work_item(b"v", key=b"k")))
    assert [(item.decoded_key, item.value) for item in seen] == [("K", "V")] * 2


@pytest.mark.parametrize("failing", ["key", "value"])
async def test_an_asynchronous_deserializer_that_fails_is_told_like_any_other(failing: str) -> None:
    async def deserializer(data: bytes | None, context: SerializationContext) -> bytes | None:
        if context.field == failing:
            raise ValueError("bad")
        return data

    decoding = Decoding(asked(key_deserializer=deserializer, value_deserializer=deserializer))
    with pytest.raises(DecodeError) as raised:
        await decoding.decoded_soon(work_item(b"v", key=b"k"))
    assert raised.value.field == failing


def test_a_coroutine_that_nobody_can_await_is_an_error_of_the_set_up() -> None:
    with pytest.raises(ConfigurationError, match=r"returned a coroutine.*ExecutionMode\.ASYNC"):
        decoded(work_item(b"v"), value_deserializer=returning_a_coroutine)


class NoParameters:
    def __call__(self) -> None: ...


class Marker:
    """Is no type that pydantic knows."""


@pytest.mark.parametrize(
    ("given", "mode", "said"),
    [
        (
            {"value_type": Order, "value_deserializer": upper},
            "async",
            "value_type and value_deserializer are both given",
        ),
        ({"key_type": Order, "key_deserializer": upper}, "async", "key_type and key_deserializer are both given"),
        ({"value_deserializer": "json"}, "async", "value_deserializer 'json' cannot be called"),
        ({"value_deserializer": NoParameters}, "async", "value_deserializer NoParameters is a class: give an instance"),
        ({"value_deserializer": json.loads}, "async", r"value_deserializer loads.* cannot be called with \(bytes, Ser"),
        ({"key_deserializer": async_upper}, "thread", "key_deserializer async_upper is `async def`, and mode thread"),
        (
            {"value_deserializer": lambda data, context: data},
            "process",
            "cannot be sent to a process .* at the top of a",
        ),
        ({"value_type": Marker}, "async", "value_type Marker is no type that pydantic can read JSON into"),
        ({"value_type": "Order"}, "async", "value_type 'Order' is no type that pydantic can read JSON into"),
        ({"value_type": 7}, "async", "value_type 7 is no type that pydantic can read JSON into"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_connected(given: Any, mode: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        asked(**given).check(ExecutionMode(mode))


def test_a_local_type_cannot_be_sent_to_a_process() -> None:
    class Local(BaseModel):
        number: int

    with pytest.raises(ConfigurationError, match=r"value_type .*Local cannot be sent to a process .*top of a module"):
        asked(value_type=Local).check(ExecutionMode.PROCESS)


@pytest.mark.parametrize("given", [{"value_type": Order}, {"value_deserializer": upper}, {"key_type": Payment}])
@pytest.mark.parametrize("mode", ExecutionMode)
def test_what_fits_is_let_through_in_every_mode(given: Any, mode: ExecutionMode) -> None:
    asked(**given).check(mode)
