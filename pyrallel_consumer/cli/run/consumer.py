"""One run of ``pyrallel-consumer run``: a consumer on a loop of its own, from its start to the exit code."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from pyrallel_consumer.cli.command import EXIT_CUT_OFF, EXIT_FAILED, EXIT_OK, EXIT_SIGNALLED, Ending
from pyrallel_consumer.cli.run.burst import BurstWatch
from pyrallel_consumer.cli.run.log import MEMBER
from pyrallel_consumer.cli.run.settings import RunSettings
from pyrallel_consumer.cli.terminal import say, say_json
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import RuntimeSnapshot
from pyrallel_consumer.errors import StateError
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.run")

ABORTED_SECONDS: Final = 2.0
"""After an abort, tasks that were cancelled and threads may take this long to end."""


def run_consumers(settings: RunSettings, consumers: Sequence[PyrallelConsumer], ending: Ending) -> int:
    """Run all of ``consumers`` until a signal, or to the end of the burst; returns the exit code, one for all.

    Raises what a PyrallelConsumer raises when it cannot start or has failed; the others drain then. After an abort the
    program exits at once, even if a thread or task of the workers does not end.
    """
    runs = [_Run(consumer, settings, is_alone=len(consumers) == 1) for consumer in consumers]
    runner = asyncio.Runner(loop_factory=_loop_factory())
    try:
        try:
            runner.run(_live(runs))
        finally:
            if any(consumer.aborted_by is not None for consumer in consumers):
                ending.is_at_once = not runner.run(_has_ended())
            if not ending.is_at_once:
                runner.close()
    except KeyboardInterrupt:  # before the consumers took the signals
        return EXIT_SIGNALLED + signal.SIGINT
    return max((run.exit_code() for run in runs), key=_telling)


async def _has_ended() -> bool:
    """Cancel all tasks, and end the threads of the loop; returns whether all of them end soon."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    tasks.add(asyncio.create_task(asyncio.get_running_loop().shutdown_default_executor()))
    _, left = await asyncio.wait(tasks, timeout=ABORTED_SECONDS)
    if left:
        logger.warning("%d tasks or threads of workers do not end: they are abandoned", len(left))
    return not left


def _telling(code: int) -> tuple[bool, ...]:
    """The sort key of exit codes: an abort counts most, then a failure, then messages that were cut off."""
    return code > EXIT_SIGNALLED, code == EXIT_FAILED, code == EXIT_CUT_OFF


async def _live(runs: Sequence[_Run]) -> None:
    """Run all of them side by side. When one fails, the others are stopped in order, and its error is raised."""
    if len(runs) == 1:
        await runs[0].live()
        return
    tasks = {asyncio.create_task(run.live()): run for run in runs}
    failed: BaseException | None = None
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            errors = [error for task in done if (error := task.exception()) is not None]
            for error in errors:
                if failed is None:
                    failed = error
                    logger.error("one consumer of %d has failed, and the others stop: %s", len(runs), error)
                    await asyncio.gather(*(tasks[task].stop(task) for task in pending))
                else:
                    logger.error("another consumer has failed: %s", error)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    if failed is not None:
        raise failed


class _Run:
    """One consumer of the run; ``is_alone`` if it is the only one."""

    def __init__(self, consumer: PyrallelConsumer, settings: RunSettings, *, is_alone: bool = True) -> None:
        self._consumer = consumer
        self._is_alone = is_alone
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

    async def stop(self, task: asyncio.Task[None]) -> None:
        """Have ``live``, which is ``task``, end in order."""
        try:
            await self._consumer.stop()
        except StateError:
            task.cancel()  # It was not started yet.
        except Exception:  # noqa: BLE001, S110 -- its own task tells
            pass

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
        """Whether messages were dead-lettered or skipped, and the user asked for an exit code for that."""
        return self._settings.run.fail_on_dead_letters and self._settled > 0

    async def _burst(self) -> None:
        self._watch = watch = await BurstWatch.begun(self._consumer.config, self._consumer.topic)
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
                logger.info("%sstopped after %s", self._prefix, sentence, extra=told)
            return
        verdict = self._watch.verdict()
        if self._settings.run.log_format == "json":
            is_ok = self._watch.is_done and not self._has_forbidden_failures
            place: dict[str, Any] = {} if self._is_alone else {"topic": self._consumer.topic}
            if (member := os.environ.get(MEMBER)) is not None:
                place["member"] = int(member)
            say_json({"ok": is_ok, **place, "burst": verdict, **told})
        else:
            told_verdict = f"{self._prefix}{verdict}"
            member = f"[{os.environ[MEMBER]}] " if MEMBER in os.environ else ""
            say(f"{member}{told_verdict[:1].upper()}{told_verdict[1:]}, after {sentence}.")

    @property
    def _prefix(self) -> str:
        """The consumer's name for messages, if there are several."""
        if self._is_alone:
            return ""
        topic = self._consumer.topic
        return f"{topic if isinstance(topic, str) else ', '.join(topic)}: "


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
    for name, one, more in (
        ("dead_letters", "dead letter", "dead letters"),
        ("retries", "retry", "retries"),
        ("cut_off", "cut off unfinished", "cut off unfinished"),
    ):
        if told[name]:
            parts.append(f"{told[name]:,} {one if told[name] == 1 else more}")
    return ", ".join(parts)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop factory of uvloop if it is installed, else None: asyncio's own."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
