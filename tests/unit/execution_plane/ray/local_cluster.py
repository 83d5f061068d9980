"""A cluster without Ray: its actors are ``ActorHost``s on the test's event loop, and die when they are told to."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Mapping
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from typing import Any

from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan, Cluster
from pyrallel_consumer.execution_plane.ray.host import ActorHost

SETUPS: list[tuple[Any, ...]] = []
"""What a real cluster would send to the actors; workers of tests cannot be pickled."""
ACTOR: ContextVar[LocalActor] = ContextVar("ACTOR")


class ActorDiedError(Exception):
    """As Ray's."""


class ActorUnreachableError(Exception):
    """As Ray's ``ActorUnavailableError``: it may live."""


def setup_of(number: int) -> tuple[Any, ...]:
    return SETUPS[number]


class _Setup:
    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return setup_of, (self.number,)


class LocalActor(ActorHost):
    """``die`` ends it and not this process. Calls that are under way then raise, and so do all later ones."""

    def __init__(self, setup: bytes) -> None:
        super().__init__(setup)
        self.end: BaseException | None = None
        self.calls: dict[asyncio.Future[Any], Future[Any]] = {}

    async def open(self) -> tuple[str, tuple[Any, ...] | None]:
        handlers = logging.getLogger().handlers[:]
        try:
            return await super().open()
        finally:
            logging.getLogger().handlers[:] = handlers

    async def die(self, number: int) -> bool:
        if number in self._items and number not in self._over:
            self.fall()
        return False

    def fall(self, error: BaseException | None = None) -> None:
        """Die, or be out of reach with ``error``."""
        self.end = error or ActorDiedError()
        calls, self.calls = self.calls, {}
        for task, answer in calls.items():
            task.cancel()
            answer.set_exception(self.end)
        if error is None and hasattr(self, "_engine"):
            self._engine.cancel(lambda _: True)


class LocalCluster(Cluster):
    """All of it is on one event loop, but ``connect`` and ``disconnect``."""

    def __init__(self, plan: ActorPlan) -> None:
        super().__init__("local", plan)
        self.actors: list[LocalActor] = []
        self._loop = asyncio.get_running_loop()

    @property
    def living(self) -> list[LocalActor]:
        return [actor for actor in self.actors if actor.end is None]

    def connect(self, host: type) -> None:
        pass

    def nodes(self) -> list[dict[str, float]]:
        return [{"CPU": 64.0}]

    def packed(self, setup: tuple[Any, ...]) -> bytes:
        SETUPS.append(setup)
        return pickle.dumps(_Setup(len(SETUPS) - 1))

    def made_actor(self, setup: bytes) -> LocalActor:
        self.actors.append(LocalActor(setup))
        return self.actors[-1]

    def call(self, method: Any, *arguments: object) -> Future[Any]:
        actor, answer = method.__self__, Future[Any]()
        if actor.end is not None:
            answer.set_exception(actor.end)
            return answer
        context = copy_context()
        context.run(ACTOR.set, actor)
        task = self._loop.create_task(method(*arguments), context=context)
        actor.calls[task] = answer

        def ended(_: object) -> None:
            if actor.calls.pop(task, None) is not None:
                if (error := task.exception()) is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(task.result())

        task.add_done_callback(ended)
        return answer

    def tell(self, method: Any, *arguments: object) -> None:
        self.call(method, *arguments)

    def kill(self, actor: LocalActor) -> None:
        if not isinstance(actor.end, ActorDiedError):
            actor.fall()

    def has_died(self, error: BaseException) -> bool:
        return isinstance(error, ActorDiedError)

    def disconnect(self) -> None:
        pass


def plan(fewest: int, most: int = 0, resources: Mapping[str, float] | None = None) -> ActorPlan:
    return ActorPlan(fewest, most or fewest, 1, 0, resources or {}, {})
