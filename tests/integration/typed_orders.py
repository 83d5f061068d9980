"""Workers and deserializers at the top of a module, for worker processes too: they note what they are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from confluent_kafka.serialization import SerializationContext
from pydantic import BaseModel

from pyrallel_consumer import WorkItem


class Order(BaseModel):
    number: int


@dataclass
class OrderRecord:
    number: int


class OrderDict(TypedDict):
    number: int


class Upper:
    """A deserializer that no process can be sent: it holds a lock, as clients of registries do."""

    def __init__(self) -> None:
        import threading  # noqa: PLC0415 -- the reason stands above

        self._lock = threading.Lock()

    def __call__(self, data: bytes | None, context: SerializationContext) -> str:
        with self._lock:
            return f"{context.topic}/{context.field}/{(data or b'').decode().upper()}"


def make_upper() -> Upper:
    return Upper()


def out_of_order(data: bytes | None, context: SerializationContext) -> Any:
    """The registry is down in the first two attempts of each process or program."""
    _calls.append(context.topic)
    if len(_calls) <= 2:
        raise ConnectionRefusedError("the registry does not answer")
    return data


_calls: list[str] = []


def note(folder: str, item: WorkItem[Any]) -> None:
    """One line for each call: what the worker saw."""
    with (Path(folder) / "seen").open("a") as seen:
        seen.write(f"{item.offset} {item.attempt} {item.value!r} {item.decoded_key!r} {item.payload!r} {item.key!r}\n")


async def note_async(folder: str, item: WorkItem[Any]) -> None:
    note(folder, item)
