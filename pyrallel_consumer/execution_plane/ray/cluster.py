"""The connection to a Ray cluster: its resources, and the start and end of actors. The only place that imports Ray."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyrallel_consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

METHODS_AT_ONCE: Final = 16
"""How many calls an actor serves at the same time: one waits for news, the others are short."""


class ActorPlan(NamedTuple):
    """The resources of each actor, and the number of actors. ``most`` is 0 if the cluster decides."""

    fewest: int
    most: int
    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float]
    runtime_env: Mapping[str, Any]

    @property
    def needs(self) -> dict[str, float]:
        """The resources that one actor takes of a node, without zeros."""
        named = {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.resources}
        return {name: amount for name, amount in named.items() if amount > 0}


def fitting_actors(nodes: Iterable[Mapping[str, float]], needs: Mapping[str, float]) -> int:
    """How many actors with these needs fit on empty nodes with these resources. At least 0."""
    if not needs:
        return 1_000_000
    return sum(min(int(node.get(name, 0) / amount) for name, amount in needs.items()) for node in nodes)


def missing(nodes: Sequence[Mapping[str, float]], plan: ActorPlan) -> str | None:
    """A sentence on what the cluster lacks for the minimum of actors, None if it lacks nothing."""
    fitting = fitting_actors(nodes, plan.needs)
    if fitting >= plan.fewest:
        return None
    totals = {name: sum(node.get(name, 0) for node in nodes) for name in plan.needs}
    wanted = ", ".join(f"{name} {amount:g}" for name, amount in plan.needs.items())
    has = ", ".join(f"{name} {amount:g}" for name, amount in totals.items())
    lacking = [
        f"{name} {plan.fewest * amount - totals[name]:g}"
        for name, amount in plan.needs.items()
        if totals[name] < plan.fewest * amount
    ]
    what = f"missing: {', '.join(lacking)}" if lacking else "no single node has room for so many of them"
    return (
        f"{plan.fewest} actors (RayConfig.min_actors) that need {wanted} each do not fit the Ray cluster, which has "
        f"{has} on {len(nodes)} nodes and room for {fitting}; {what}. Add nodes, or lower min_actors, num_cpus, "
        "num_gpus or resources"
    )


class Cluster:
    """A connection to a cluster; all methods but ``connect`` and ``disconnect`` are quick."""

    def __init__(self, address: str, plan: ActorPlan) -> None:
        self._address = address
        self.plan = plan
        self._ray: Any = None
        self._is_ours = False
        self._actor_class: Any = None

    def connect(self, host: type) -> None:
        """Join the cluster, unless this program has. Blocks. ConfigurationError without a cluster or without Ray."""
        try:
            import ray  # noqa: PLC0415 -- an extra, and slow to import
        except ImportError as error:
            raise ConfigurationError(
                "ExecutionMode.RAY needs Ray: install the extra, pip install 'pyrallel-consumer[ray]'"
            ) from error
        self._ray = ray
        if not ray.is_initialized():
            try:
                ray.init(address=self._address, log_to_driver=True, ignore_reinit_error=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigurationError(
                    f"no Ray cluster answers at RayConfig.address={self._address!r} ({error}); start one with "
                    "`ray start --head`, name its address, or use 'local' for one on this machine"
                ) from error
            self._is_ours = True
        options: dict[str, Any] = {
            "num_cpus": self.plan.num_cpus,
            "num_gpus": self.plan.num_gpus,
            "max_concurrency": METHODS_AT_ONCE,
            "max_restarts": 0,
        }
        if self.plan.resources:
            options["resources"] = dict(self.plan.resources)
        if self.plan.runtime_env:
            options["runtime_env"] = dict(self.plan.runtime_env)
        self._actor_class = ray.remote(**options)(host)

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each living node."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def most_actors(self) -> int:
        """The most actors: the plan's number, or as many as fit the present nodes."""
        return self.plan.most or max(self.plan.fewest, min(4096, fitting_actors(self.nodes(), self.plan.needs)))

    def packed(self, setup: tuple[Any, ...]) -> bytes:
        """Pickled so that functions of the main program and closures get there, too."""
        from ray import cloudpickle  # noqa: PLC0415 -- as above

        try:
            packed: bytes = cloudpickle.dumps(setup, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            # Any exception of a user's __reduce__ means the same.
            raise ConfigurationError(
                f"the worker or its initializer cannot be sent to Ray's actors: {error}"
            ) from error
        return packed

    def made_actor(self, setup: bytes) -> Any:
        """A handle; the actor starts when the cluster has the resources."""
        return self._actor_class.remote(setup)

    def call(self, method: Any, *arguments: object) -> Future[Any]:
        """Call a method of an actor; the future is set on a thread of Ray's."""
        future: Future[Any] = method.remote(*arguments).future()
        return future

    def tell(self, method: Any, *arguments: object) -> None:
        """Call a method without waiting for its answer."""
        method.options(num_returns=0).remote(*arguments)

    def kill(self, actor: Any) -> None:
        self._ray.kill(actor, no_restart=True)

    def has_died(self, error: BaseException) -> bool:
        """Whether the error says that the actor is dead, and not only unreachable."""
        exceptions = self._ray.exceptions
        return isinstance(error, exceptions.ActorDiedError) and not isinstance(error, exceptions.ActorUnavailableError)

    def disconnect(self) -> None:
        """Leave the cluster, if ``connect`` joined it. Blocks."""
        if self._is_ours:
            self._ray.shutdown()
