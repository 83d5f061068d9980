"""This library: asyncio tasks, threads or processes, with its own defaults, except for the plan's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from race.lap_plan import LapPlan
from race.loop_lap import run_lap, until_over
from race.process_lap import ProcessLap, ProcessWorker
from race.scraper import scrape
from race.stopwatch import Stopwatch
from race.tap import open_tap
from race.workers import Reader, async_worker, blocking_worker

READER: Final = Reader(lambda item: item.partition, lambda item: item.payload)


async def run(plan: LapPlan) -> dict[str, float]:
    """Until all is done and committed, or the cap."""
    watch = Stopwatch(plan)
    open_tap(watch)
    from pyrallel_consumer import PyrallelConsumer  # noqa: PLC0415 -- after the tap was opened

    mode = plan.settings.get("mode", "async")
    worker: Any
    finished: Callable[[], int]
    processes: ProcessLap | None = None
    if mode == "process":
        processes = ProcessLap(plan, watch)
        worker, finished = ProcessWorker(plan, processes.folder), processes.finished
    else:
        worker, finished = (async_worker if mode == "async" else blocking_worker)(plan, watch, READER)
    config, execution = settings_of(plan)
    consumer = PyrallelConsumer(config=config, execution_config=execution, worker=worker, topic=plan.topic)
    await consumer.start()
    if consumer.metrics_address is not None:
        scrape(consumer.metrics_address)
    if processes is not None:
        await processes.until_over(watch)
    await until_over(watch)
    figures = watch.figures(finished())
    if watch.is_over:
        await consumer.stop()
        figures["duplicates"] = finished() - plan.messages
    return figures


def settings_of(plan: LapPlan) -> tuple[Any, Any]:
    from pyrallel_consumer import ExecutionConfig, KafkaConfig, ParallelConsumerConfig  # noqa: PLC0415 -- as above
    from pyrallel_consumer.config import MetricsConfig  # noqa: PLC0415 -- as above

    wanted = plan.settings
    config = KafkaConfig(
        bootstrap_servers=[plan.bootstrap_servers],
        consumer_group=plan.group,
        auto_offset_reset="earliest",
        dlq_enabled=False,
        librdkafka=dict(plan.client_settings),
        metrics=MetricsConfig(enabled=bool(wanted.get("is_metrics")), port=0),
        parallel_consumer=ParallelConsumerConfig(**wanted.get("parallel_consumer", {})),
    )
    return config, ExecutionConfig(mode=wanted.get("mode", "async"), **wanted.get("execution", {}))


if __name__ == "__main__":
    run_lap(run)
