"""A cluster of several nodes, all on 127.0.0.1. Without Ray these tests are skipped, and fail in CI."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pyrallel_consumer.testing.engine_contract import rig
from tests.kafka.conftest import kafka

__all__ = ["kafka"]

# Before Ray is imported: every address is the loopback's, and a busy machine is waited for.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ.setdefault("RAY_raylet_start_wait_time_s", "600")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

PATIENCE_SECONDS = 240
MEMORY_BYTES = 100 * 1024 * 1024
AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def node_settings(cpus: int) -> dict[str, Any]:
    """A node on the loopback. Its agents' ports are given: Ray waits 15 s for unknown ports, and then dies."""
    with ExitStack() as probes:
        listening = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in AGENTS]
        ports = {name: probe.getsockname()[1] for name, probe in zip(AGENTS, listening, strict=True)}
    return {"node_ip_address": "127.0.0.1", "object_store_memory": MEMORY_BYTES, "num_cpus": cpus, **ports}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new actor is a process that imports Ray: on a busy machine that takes long."""
    monkeypatch.setattr(rig, "PATIENCE_SECONDS", PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A head with two cores, which this program has joined; tests add nodes to it."""
    try:
        import ray  # noqa: PLC0415 -- it may be missing
        from ray.cluster_utils import Cluster  # noqa: PLC0415
    except ImportError:
        if os.environ.get("PYRALLEL_REQUIRE_RAY"):
            pytest.fail("PYRALLEL_REQUIRE_RAY is set, and Ray is not installed")
        pytest.skip("Ray is not installed: `make test-ray` prepares an environment that has it")
    made = Cluster(initialize_head=True, head_node_args={**node_settings(2), "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()
