"""This library with metrics on. It switches durations on and off within one lap, to measure their cost."""

from __future__ import annotations

from race.contender_ours import settings_of
from race.lap_plan import LapPlan
from race.loop_lap import run_lap, until_over
from race.stopwatch import Stopwatch
from race.tap import open_tap


async def run(plan: LapPlan) -> dict[str, float]:
    """Wait until all is done and committed, or until the cap."""
    watch = Stopwatch(plan)
    open_tap(watch)
    from pyrallel_consumer import PyrallelConsumer  # noqa: PLC0415 -- after the tap was opened
    from race.in_turn import Stretches, figures_of, scrape_seconds  # noqa: PLC0415 -- likewise

    stretches = Stretches()
    config, execution = settings_of(plan)
    worker = stretches.worker(plan.messages, plan.work_ms / 1000, execution.max_in_flight, watch.end)
    consumer = PyrallelConsumer(config=config, execution_config=execution, worker=worker, topic=plan.topic)
    stretches.watch(consumer)
    await consumer.start()
    await until_over(watch)
    figures = watch.figures(stretches.finished)
    if stretches.is_telling:
        figures |= figures_of([stretches], await scrape_seconds(consumer))
    if watch.is_over:
        await consumer.stop()
        figures["duplicates"] = stretches.finished - plan.messages
    return figures


if __name__ == "__main__":
    run_lap(run)
