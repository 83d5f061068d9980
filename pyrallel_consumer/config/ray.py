"""``RayConfig``: where workers run in the mode ``ray``, and on what."""

from __future__ import annotations

import json
from typing import Any, Unpack

from pydantic import Field, field_validator

from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.config.typed.arguments import RayArguments
from pyrallel_consumer.config.typed.attributes import RayAttributes


class RayConfig(RayAttributes, Settings):
    """The Ray cluster of ``ExecutionMode.RAY``: its address, how many actors, and what each of them takes.

    Needs the extra ``ray``. Of no use to the other modes.
    """

    environment_prefixes = ("RAY_",)
    argument = "ray"

    address: str = Field("auto", min_length=1)
    """``auto`` (default): the cluster that this machine belongs to; ``host:port`` of a head node, ``ray://host:10001``
    from outside of the cluster, or ``local`` for one that is started on this machine and ends with the consumer."""

    min_actors: int = Field(1, ge=1, le=4096)
    """Actors that run all the time, 1-4096. The consumer does not start before they have started. If the cluster has no
    room for them, the error says what it lacks."""

    max_actors: int = Field(0, ge=0, le=4096)
    """Most actors while messages wait, 0-4096; 0 = as many as fit the cluster (default). One at a time is
    added. An actor beyond ``min_actors`` that had nothing to do for a minute is ended."""

    num_cpus: float = Field(1.0, ge=0, le=4096, allow_inf_nan=False)
    """Cores that the cluster reserves for each actor, 0-4096, fractions included. It is a reservation, not a limit."""

    num_gpus: float = Field(0.0, ge=0, le=256, allow_inf_nan=False)
    """GPUs for each actor, 0-256, fractions included: four actors with 0.25 share one."""

    resources: dict[str, float] = Field(default_factory=dict)
    """Further resources that an actor reserves on its node, by the names in the nodes' start options."""

    runtime_env: dict[str, Any] = Field(default_factory=dict)
    """Ray's ``runtime_env`` for the actors: packages, a ``working_dir``, environment variables. Without it the nodes
    must have the worker's modules and this library, in the same version."""

    actor_concurrency: int = Field(0, ge=0, le=100_000)
    """Messages, or batches, that an actor runs at once, 0-100,000. 0 (default): its share of ``max_in_flight`` for
    ``async def`` workers, 1 for plain ones. Plain workers run in this many threads."""

    frame_items: int = Field(256, ge=1, le=10_000)
    """Most messages that are sent to an actor in one call, 1-10,000. A call costs the consumer about a quarter of a
    millisecond, however many messages it carries; with 1 this cost limits the rate. While few messages wait, few are
    sent at once."""

    start_timeout_ms: int = Field(30_000, ge=100, le=3_600_000)
    """Milliseconds that the start waits for ``min_actors``, 100-1 hour. Set it longer than the cluster needs to add
    nodes, and longer than a model takes to load."""

    def __init__(self, **values: Unpack[RayArguments]) -> None:
        super().__init__(**values)

    @field_validator("resources", "runtime_env", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is not a JSON object: {error.msg} at character {error.pos}") from None
        if not isinstance(parsed, dict):
            raise ValueError("is JSON, but not a JSON object")  # noqa: TRY004 -- pydantic reports a ValueError
        return parsed
