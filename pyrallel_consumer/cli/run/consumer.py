"""One run of ``pyrallel-consumer run``: a consumer on a loop of its own, from its start to the exit code."""

from __future__ import annotations

import asyncio
import importlib
import signal
import time
from collections.abc import Callable
from typing import Any, cast

from pyrallel_consumer.cli.command import EXIT_CUT_OFF, EXIT_FAILED, EXIT_OK, EXIT_SIGNALLED
from pyrallel_consumer.cli.run.burst import BurstWatch
from pyrallel_consumer.cli.run.settings import RunSettings
from pyrallel_consumer.cli.terminal import say, say_json
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import RuntimeSnapshot
from pyrallel_consumer.errors import StateError
from pyrallel_consumer.execution_plane.worker_kind import Worker
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.run")


def run_consumer(settings: RunSettings, worker: Worker) -> int:
    """Consume until a signal, or to the end of the burst; returns the exit code.

    Raises what PyrallelConsumer raises when it cannot start or has failed.
    """
    consumer = PyrallelConsumer(settings.kafka, worker, settings.topic(), execution_config=settings.execution)
    run = _Run(consumer, settings)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run.live())
    except KeyboardInterrupt:  # before the consumer took the signals
        return EXIT_SIGNALLED + signal.SIGINT
    return run.exit_code()


class _Run:
    def __init__(self, consumer: PyrallelConsumer, settings: RunSettings) -> None:
        self._consumer = consumer
        self._settings = settings
        self._watch: BurstWatch | None = None
        self._settled = 0

    async def live(self) -> None:
        began = time.monotonic()
        try:
            if self._settings.run.burst:
                await self._burst()
            else:
                await self._consumer.run()
        finally:
            self._conclude(time.monotonic() - began)

    def exit_code(self) -> int:
        consumer, watch = self._consumer, self._watch
        if consumer.aborted_by is not None:
            return EXIT_SIGNALLED + consumer.aborted_by
        if watch is None or watch.is_done:
            if self._has_forbidden_failures:
                return EXIT_FAILED
            return EXIT_CUT_OFF if watch is None and consumer.cut_off else EXIT_OK
        return EXIT_FAILED if consumer.stopped_by is None else EXIT_SIGNALLED + consumer.stopped_by

    @property
    def _has_forbidden_failures(self) -> bool:
        """Whether messages were dead-lettered or skipped where the user asked for an exit code that says so."""
        return self._settings.run.fail_on_dead_letters and self._settled > 0

    async def _burst(self) -> None:
        self._watch = watch = await BurstWatch.begun(self._settings.kafka, self._settings.topic())
        if watch.is_done:
            return
        running = asyncio.create_task(self._consumer.run())
        watching = asyncio.create_task(watch.until_over(self._consumer))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await self._consumer.stop()
            await running
        finally:
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)
        if not watching.cancelled():
            watching.result()

    def _conclude(self, seconds: float) -> None:
        try:
            picture = self._consumer.get_runtime_snapshot()
        except StateError:
            picture = None
        self._settled = 0 if picture is None else picture.settled
        told = _figures(picture, seconds) | {"cut_off": self._consumer.cut_off}
        sentence = _sentence(told)
        if self._watch is None:
            if picture is not None:
                logger.info("stopped after %s", sentence, extra=told)
            return
        verdict = self._watch.verdict()
        if self._settings.run.log_format == "json":
            is_ok = self._watch.is_done and not self._has_forbidden_failures
            say_json({"ok": is_ok, "burst": verdict, **told})
        else:
            say(f"{verdict[:1].upper()}{verdict[1:]}, after {sentence}.")


def _figures(picture: RuntimeSnapshot | None, seconds: float) -> dict[str, Any]:
    told: dict[str, Any] = {"seconds": round(seconds, 3)}
    told |= dict.fromkeys(("processed", "succeeded", "failed", "retries", "dead_letters"), 0)
    if picture is not None:
        told |= {
            "processed": picture.processed,
            "succeeded": picture.processed - picture.settled,
            "failed": picture.failed,
            "retries": picture.retries,
            "dead_letters": picture.dead_letters.sent,
        }
    return told


def _sentence(told: dict[str, Any]) -> str:
    parts = [f"{told['seconds']:.1f} s: {told['processed']:,} messages processed"]
    if told["failed"]:
        parts.append(f"{told['succeeded']:,} succeeded, {told['failed']:,} failed")
    for name, plural in (("dead_letters", "dead letters"), ("retries", "retries"), ("cut_off", "cut off unfinished")):
        if told[name]:
            parts.append(f"{told[name]:,} {plural}")
    return ", ".join(parts)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Loops of uvloop where it is installed, else None: asyncio's own."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
