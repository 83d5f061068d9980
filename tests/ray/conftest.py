"""A cluster of several nodes, all on 127.0.0.1. Without Ray these tests are skipped, and fail in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

# Before Ray is imported: every address is the loopback's, and a busy machine is waited for.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

MEMORY_BYTES = 100 * 1024 * 1024


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two nodes with a core each, and a head without any; this program has joined it."""
    try:
        import ray
        from ray.cluster_utils import Cluster
    except ImportError:
        if os.environ.get("PYRALLEL_REQUIRE_RAY"):
            pytest.fail("PYRALLEL_REQUIRE_RAY is set, and Ray is not installed")
        pytest.skip("Ray is not installed: `make test-ray` prepares an environment that has it")
    node: dict[str, Any] = {"node_ip_address": "127.0.0.1", "object_store_memory": MEMORY_BYTES}
    made = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 1, "include_dashboard": False})
    made.add_node(**node, num_cpus=2)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()
