"""One life of a kit's consumer, from its start to its stop or crash, and its remaining work."""

from __future__ import annotations

from contextvars import Context
from typing import Any

from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.runtime.surroundings import Surroundings
from pyrallel_consumer.runtime.wiring import Wiring
from pyrallel_consumer.testing.kit.clock import KitTimers
from pyrallel_consumer.testing.kit.memory_poller import MemoryPoller
from pyrallel_consumer.testing.kit.world import KitWorld


class KitConsumer(PyrallelConsumer):
    """The real consumer in the surroundings of a kit."""

    def __init__(self, world: KitWorld, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._world = world

    @property
    def wiring(self) -> Wiring:
        return self._wiring

    @property
    def is_stopping(self) -> bool:
        return self._life.is_stop_asked

    def _build(self, base: Context) -> None:
        super()._build(base)
        self._wiring.control.exhausted.heard = self._world.last_attempt_failed

    def _surroundings(self) -> Surroundings:
        return self._world


class Life:
    """Made when its consumer has begun to start."""

    def __init__(self, consumer: KitConsumer, world: KitWorld) -> None:
        if world.kit_timers is None or world.kit_poller is None:
            raise AssertionError("the consumer was not started in its world")
        self.consumer = consumer
        self.timers: KitTimers = world.kit_timers
        self.poller: MemoryPoller = world.kit_poller

    @property
    def is_stopping(self) -> bool:
        return self.consumer.is_stopping

    @property
    def is_running_attempts(self) -> bool:
        return self.consumer.wiring.engine.running() > 0

    @property
    def has_news(self) -> bool:
        """Whether facts or completions wait to be taken: a turn comes by itself."""
        control = self.consumer.wiring.control
        return control.has_facts or control.channel.has_items

    @property
    def is_quiet(self) -> bool:
        """Whether waiting is useless: nothing more will happen, as far as the kit knows."""
        wiring = self.consumer.wiring
        manager, engine, control = wiring.manager, wiring.engine, wiring.control
        is_probing = manager.circuit.is_open and manager.load.messages > 0
        return not (
            self.is_running_attempts
            or self.has_news
            or is_probing
            or manager.ready
            or engine.waiting()
            or control.dead_letters
            or control.is_rebalancing
            or self._is_writing
            or wiring.commits.is_under_way
            or manager.has_uncommitted
            or not self.poller.is_quiet
        )

    @property
    def _is_writing(self) -> bool:
        """Whether records wait for Kafka, or a message waits because one was refused."""
        output = self.consumer.wiring.control.output
        return output is not None and (bool(output.items()) or output.next_at is not None)

    @property
    def next_retry_at(self) -> float | None:
        """When a retry, a timeout, a dead letter or a start is due; None where an open circuit decides about that."""
        wiring = self.consumer.wiring
        letters = wiring.control.dead_letters
        due = [wiring.engine.next_sweep_at(), None if letters is None else letters.next_at]
        if wiring.control.output is not None:
            due.append(wiring.control.output.next_at)
        if wiring.manager.rate.is_limited:
            due.append(wiring.manager.rate.next_at(wiring.clock()))
        return min((at for at in due if at is not None), default=None)
