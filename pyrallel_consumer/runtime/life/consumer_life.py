"""The life of a consumer from start to end: one task, the *supervisor*, opens, waits for a stop, and closes.

The consumer's public methods signal it and wait for it. A cancellation from outside, as ``asyncio.run`` does with all
tasks at its end, is an abort: finished messages are committed, and the consumer leaves the group.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from pyrallel_consumer.errors import BrokerError, LifespanError, MessageExhaustedError, StateError
from pyrallel_consumer.foreign_errors import loggable
from pyrallel_consumer.log import Log
from pyrallel_consumer.observability.published import Published
from pyrallel_consumer.runtime.life.closing import CANCEL_SECONDS, LET_GO_SECONDS, until_done
from pyrallel_consumer.runtime.steering import Steering

if TYPE_CHECKING:
    from pyrallel_consumer.execution_plane.worker.lifespan_task import LifespanTask
    from pyrallel_consumer.runtime.wiring import Wiring

logger = Log("pyrallel_consumer")


class ConsumerLife:
    """Made with its consumer, begun once. ``state`` is new, starting, running, stopping or closed.

    ``error`` is the fatal error that ended the consumer or is ending it; ``published`` has the snapshots.
    ``stopped_by`` and ``aborted_by`` are the signals that came, None if there was none. Belongs to the loop that
    began it.
    """

    wiring: Wiring

    def __init__(self) -> None:
        self.state = "new"
        self.is_open = False
        self.error: BaseException | None = None
        self.stopped_by: signal.Signals | None = None
        self.aborted_by: signal.Signals | None = None
        self._is_living = False
        self.published: Published | None = None
        self._lifespan: LifespanTask | None = None
        self._opened = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def is_stop_asked(self) -> bool:
        """Whether the stop has begun, or will begin as soon as possible."""
        return self._stop_asked.is_set()

    @property
    def is_shutting_down(self) -> bool:
        """Whether somebody cancels the supervisor: a cancelled worker is then no failure."""
        return self._supervisor.cancelling() > 0

    def begin(
        self,
        wiring: Wiring,
        *,
        title: str,
        lifespan: LifespanTask | None,
        leave_seconds: float,
        open_endpoint: Callable[[], None],
        base: Context,
    ) -> None:
        """Start the supervisor in a copy of ``base``. ``title`` names topics and group in the log.

        ``lifespan`` is one that is held on this loop; leaving any lifespan may take ``leave_seconds``.
        """
        self.wiring = wiring
        control = wiring.control
        control.on_tick.append(self._look_at_poller)
        self.published = Published(wiring.views.picture, wiring.blocking_watch, control.pictures)
        control.pictures.add(self.published.tick)
        control.on_interrupt = self.on_interrupt
        self._title = title
        self._lifespan = lifespan
        self._leave_seconds = leave_seconds
        self._open_endpoint = open_endpoint
        self._loop = asyncio.get_running_loop()
        self._become("starting")
        # Not by create_task: a task factory is the user's, and made for the user's tasks.
        self._supervisor = asyncio.Task(self._live(), loop=self._loop, name="pyrallel-consumer", context=base.copy())
        self._supervisor.add_done_callback(self._end)

    async def until_open(self) -> None:
        """Return when the consumer runs. Raises the start's error if it fails; if the caller is cancelled, the start is
        ended first.
        """
        try:
            await self._opened.wait()
        except asyncio.CancelledError:
            self.hurry()
            self.ask_to_stop()
            await self._closed.wait()
            raise
        if not self.is_open:
            await self._closed.wait()
            raise self.error or StateError("the consumer was stopped while it started")

    async def until_closed(self) -> None:
        """Return when the consumer has stopped; raises the fatal error if there was one."""
        await self._closed.wait()
        if self.error is not None:
            raise self.error

    def check_begun(self) -> None:
        """Raise StateError before the start, and on another loop than its own."""
        if self.state == "new":
            raise StateError("this consumer was never started: call start() first")
        if asyncio.get_running_loop() is not self._loop:
            raise StateError("this consumer belongs to the event loop that started it, and another one asks")

    @property
    def steering(self) -> Steering:
        """What pauses and resumes. Raises StateError unless the consumer runs."""
        if not self.is_open or self.state == "closed":
            raise StateError(f"the consumer is {self.state}: partitions are paused and resumed while it runs")
        return Steering(self.wiring.manager, self.wiring.control, self.wiring.engine, self.wiring.clock)

    async def _live(self) -> None:
        self._is_living = True
        try:
            await self._open_and_close()
            await self._let_go()
        except Exception as error:  # noqa: BLE001 -- an engine of the user's may raise anywhere; no caller may wait for ever
            self._note(error)
        self._end()

    def _end(self, _: asyncio.Task[None] | None = None) -> None:
        """Release all waiters, even if the supervisor was cancelled before its first step."""
        self.state = "closed"
        self._opened.set()
        self._closed.set()

    async def _open_and_close(self) -> None:
        try:
            if not self._stop_asked.is_set():
                await self._open()
            await self._stop_asked.wait()
        except asyncio.CancelledError:  # By ask_to_stop while it opened, or from outside: see the module's docstring.
            self.wiring.closing.abort()
        except Exception as error:  # noqa: BLE001 -- why it cannot start: start() raises it
            self._note(error)
        self._become("stopping")
        if self.is_open:
            await self._close()

    async def _open(self) -> None:
        wiring = self.wiring
        wiring.raise_gc_threshold()
        self._open_endpoint()
        if self._lifespan is not None:
            await self._lifespan.enter()
        await wiring.start_engine()
        wiring.control.start()
        wiring.start_watchdog()
        for start in wiring.threads.starts():
            started = start()
            await until_done(started)
            started.result()
        self.is_open = True
        self._become("running")
        self._opened.set()
        wiring.control.connect(wiring.poller)  # Only now: a worker may stop or pause a started consumer.
        logger.info("consuming %s", self._title)
        if (address := wiring.views.metrics_address) is not None:
            logger.info("status page, metrics and health at http://%s:%d/", *address)

    async def _close(self) -> None:
        """Close in order, and again as an abort if somebody cancels that."""
        closing = self.wiring.closing
        try:
            await closing.run()
        except asyncio.CancelledError:
            if not closing.is_aborted:
                closing.abort()
                await self._close()

    async def _let_go(self) -> None:
        """The last steps: nothing is committed any more, and every wait has its bound."""
        wiring = self.wiring
        wiring.threads.abandon()
        wiring.control.stop()
        wiring.watchdog.stop()
        wiring.release_gc_threshold()
        has_left = wiring.views.close_endpoint()
        await self._stop_engine()
        deadline = self._loop.time() + LET_GO_SECONDS
        try:
            for ended in [*(wiring.threads.under_way() if self.is_open else ()), has_left]:
                await until_done(ended, max(0.0, deadline - self._loop.time()))
        except asyncio.CancelledError:
            logger.warning("interrupted while stopping: the group may notice only after its session timeout")
        self._become("closed")

    async def _stop_engine(self) -> None:
        """Stop the engine, and leave the lifespan after it, which may take as long as a drain."""
        seconds = 0.0 if self.wiring.closing.is_aborted else self._leave_seconds
        try:
            await self.wiring.engine.stop(seconds)
            if self._lifespan is not None:
                await self._lifespan.leave(max(seconds, CANCEL_SECONDS))
        except asyncio.CancelledError:
            logger.warning("interrupted while stopping: what runs the worker may not have ended in order")
        except LifespanError as error:
            logger.error("%s", error, exc_info=loggable(error))  # noqa: TRY400 -- not every traceback can be shown
            self._note(error)

    def ask_to_stop(self) -> None:
        """Begin to stop, unless that has begun. The first call counts."""
        if self._stop_asked.is_set():
            return
        self._stop_asked.set()
        if self.is_open:
            self.wiring.control.begin_draining()
        elif self._is_living:  # a task that is cancelled before its first step never takes it
            self._supervisor.cancel()

    def hurry(self) -> None:
        """Abort: cancel running messages, and wait no longer for the lifespan."""
        self.wiring.closing.abort()
        if self._lifespan is not None:
            self._lifespan.hurry()

    def _note(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        elif error is not self.error:
            logger.error("after the consumer had failed: %s", error, exc_info=loggable(error))

    def fail(self, error: BaseException) -> None:
        """End because of this error. After a message was exhausted the others still drain."""
        if self.error is None:
            place = error.place if isinstance(error, MessageExhaustedError) else {}
            logger.error("the consumer fails: %s", error, exc_info=loggable(error), extra=place)
            self.error = error
        if not isinstance(error, MessageExhaustedError):
            self.wiring.closing.abort()
        self.ask_to_stop()

    def on_signal(self, number: signal.Signals) -> None:
        """Drain at the first signal, abort at the second."""
        if not self._stop_asked.is_set():
            logger.info("%s: draining; a second signal aborts", number.name)
            self.stopped_by = number
            self.ask_to_stop()
        elif self.aborted_by is None and not self._closed.is_set():
            logger.warning("%s again: aborting; what runs is cancelled and will run again", number.name)
            self.aborted_by = number
            self.hurry()

    def on_interrupt(self) -> None:
        """A KeyboardInterrupt without a handler, from Ctrl-C or from a worker: handle it like the signal."""
        logger.warning("KeyboardInterrupt in a worker: its message stays uncommitted, and runs again after a restart")
        self.on_signal(signal.SIGINT)

    def _look_at_poller(self, _: float) -> None:
        """At every tick."""
        control = self.wiring.control
        if self.is_open and not (self.wiring.poller.is_alive or control.has_facts or control.has_poller_ended):
            self.fail(BrokerError("the poll thread has ended by itself", code="_STATE"))

    def _become(self, state: str) -> None:
        self.state = state
        if self.published is not None:
            self.published.become(state)
