"""PyPI's ``pyrallel-consumer`` 1.0.0, in an environment of its own: its import name is ours."""

from __future__ import annotations

import importlib
import logging
from typing import Any, Final

from race.lap_plan import LapPlan
from race.loop_lap import run_lap, until_over
from race.process_lap import ProcessLap, ProcessWorker
from race.stopwatch import Stopwatch
from race.tap import open_tap
from race.workers import Reader, async_worker

READER: Final = Reader(lambda item: item.tp.partition, lambda item: item.payload)


async def run(plan: LapPlan) -> dict[str, float]:
    """Until all is done, or the cap."""
    watch = Stopwatch(plan)
    open_tap(watch)
    logging.disable(logging.CRITICAL)
    processes: ProcessLap | None = None
    worker: Any
    if plan.settings.get("mode") == "process":
        processes = ProcessLap(plan, watch)
        worker, finished = ProcessWorker(plan, processes.folder), processes.finished
    else:
        worker, finished = async_worker(plan, watch, READER)
    consumer = importlib.import_module("pyrallel_consumer.consumer").PyrallelConsumer(
        config=_settings(plan), worker=worker, topic=plan.topic
    )
    await consumer.start()
    if processes is not None:
        await processes.until_over(watch)
    await until_over(watch)
    return watch.figures(finished())


def _settings(plan: LapPlan) -> Any:
    config = importlib.import_module("pyrallel_consumer.config").KafkaConfig(
        BOOTSTRAP_SERVERS=[plan.bootstrap_servers], CONSUMER_GROUP=plan.group, AUTO_OFFSET_RESET="earliest"
    )
    config.dlq_enabled = False
    parallel = config.parallel_consumer
    for name, value in plan.settings.get("parallel_consumer", {}).items():
        setattr(parallel, name, value)
    mode = importlib.import_module("pyrallel_consumer.dto").ExecutionMode
    parallel.execution.mode = mode(plan.settings.get("mode", "async"))
    for name, value in plan.settings.get("execution", {}).items():
        setattr(parallel.execution, name, value)
    for name, value in plan.settings.get("process", {}).items():
        setattr(parallel.execution.process_config, name, value)
    return config


if __name__ == "__main__":
    run_lap(run)
