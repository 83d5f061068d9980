"""The types of workers, for type checkers; nothing here runs.

A worker takes one item or, with ``batch_size`` above 1, a list of them. ``async def`` or not depends on the mode, which
is a setting and not a type: ``check_worker`` refuses a worker that does not fit when the consumer is built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from pyrallel_consumer.dto import WorkItem

V = TypeVar("V")

WorkerOf: TypeAlias = Callable[[WorkItem[V]], object] | Callable[[list[WorkItem[V]]], object]
"""A worker of items whose value is of type ``V``."""
