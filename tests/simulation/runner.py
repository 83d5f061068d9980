"""Runs seeds, and says how to replay a failing one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pyrallel_consumer.runtime.pump import control_loop
from tests.simulation.world import World

DEFAULT_STEPS = 400


class SeedFailed(AssertionError):  # noqa: N818 -- says what happened
    """A seed found a breach; the message says which, and how to replay it."""


def run_seed(seed: int, steps: int = DEFAULT_STEPS, diary: list[str] | None = None) -> World:
    """Run one seed to its end; raises SeedFailed with the cause. ``diary`` takes a line for each thing that happens."""
    world = World(seed, steps, diary)
    with _small_chunks(world.scene.scenario.chunk):
        try:
            world.run()
        except Exception as error:
            msg = f"seed {seed}: {error}\nreplay: make simulate SEED={seed} ARGS=--verbose"
            raise SeedFailed(msg) from error
    return world


@contextmanager
def _small_chunks(size: int) -> Iterator[None]:
    """Turns of the pump are short, so that steps fall in between; and this simulation provokes the pump's warnings."""
    logger = logging.getLogger("pyrallel_consumer")
    level, chunk = logger.level, control_loop.CHUNK
    logger.setLevel(logging.CRITICAL)
    control_loop.CHUNK = size
    try:
        yield
    finally:
        control_loop.CHUNK = chunk
        logger.setLevel(level)
