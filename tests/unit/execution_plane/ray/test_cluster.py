"""Whether a cluster has the resources for the actors, and the error if it has not."""

from __future__ import annotations

import pytest

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, RayConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import ExecutionMode, WorkItem
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan, fitting_actors, missing


def plan(fewest: int, *, cpus: float = 1, gpus: float = 0, **resources: float) -> ActorPlan:
    return ActorPlan(fewest, 0, cpus, gpus, resources, {})


NODES = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 2.0}]


@pytest.mark.parametrize(
    ("needs", "count"),
    [({"CPU": 1.0}, 6), ({"CPU": 3.0}, 1), ({"CPU": 1.0, "GPU": 0.25}, 4), ({"TPU": 1.0}, 0), ({}, 1_000_000)],
)
def test_actors_fit_node_by_node(needs: dict[str, float], count: int) -> None:
    assert fitting_actors(NODES, needs) == count


def test_where_all_fit_nothing_is_missing() -> None:
    assert missing(NODES, plan(6)) is None
    assert missing([], plan(3, cpus=0)) is None


def test_it_says_what_is_missing_and_how_much() -> None:
    said = missing(NODES, plan(3, gpus=1)) or ""
    assert "3 actors (RayConfig.min_actors) that need CPU 1, GPU 1 each" in said
    assert "has CPU 6, GPU 1 on 2 nodes and room for 1; missing: GPU 2" in said
    assert "missing: disk 1" in (missing(NODES, plan(1, disk=1)) or "")


def test_where_there_is_enough_in_all_but_not_on_a_node_it_says_so() -> None:
    assert "no single node" in (missing(NODES, plan(2, cpus=3)) or "")


async def test_without_ray_the_consumer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(item: WorkItem) -> None:
        pass

    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    consumer = PyrallelConsumer(
        KafkaConfig(), work, topic="orders", execution_config=ExecutionConfig(mode=ExecutionMode.RAY), ray=RayConfig()
    )
    with pytest.raises(ConfigurationError, match=r"pip install 'pyrallel-consumer\[ray\]'"):
        await consumer.start()
